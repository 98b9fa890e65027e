"""What a user writes to define a check that stands for itself."""

from typing import Annotated, ClassVar

from consultwist.structs.catalog import CheckType
from consultwist.structs.check_extensions import CheckExtensions
from consultwist.wire.struct import Field, Nanoseconds


class CheckDefinition(CheckExtensions):
    """A check of the node, or of a service named by its id, as a user writes it."""

    json_alone: ClassVar[bool] = True

    id: str = ""
    name: str = ""
    notes: str = ""
    service_id: Annotated[str, Field(snake=True)] = ""
    token: str = ""
    status: str = ""
    script_args: Annotated[list[str] | None, Field(snake=True, aliases=("args",))] = (
        None
    )
    http: str = ""
    header: dict[str, list[str]] | None = None
    method: str = ""
    body: str = ""
    tcp: str = ""
    interval: Nanoseconds = 0
    docker_container_id: Annotated[str, Field(snake=True)] = ""
    shell: str = ""
    grpc: str = ""
    grpc_use_tls: Annotated[bool, Field(snake=True)] = False
    tls_skip_verify: Annotated[bool, Field(snake=True)] = False
    alias_node: str = ""
    alias_service: str = ""
    timeout: Nanoseconds = 0
    ttl: Nanoseconds = 0
    success_before_passing: int = 0
    failures_before_critical: int = 0
    deregister_critical_service_after: Annotated[Nanoseconds, Field(snake=True)] = 0
    output_max_size: int = 0

    def check_type(self) -> CheckType:
        """Return how the agent runs this check."""
        shared = set(self.__struct_fields__) & set(CheckType.__struct_fields__)
        values = {name: getattr(self, name) for name in shared}
        return CheckType(check_id=self.id, **values)

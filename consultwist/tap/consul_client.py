"""``twistd consul-client``: an agent in client mode."""

from twisted.application.service import IService

from consultwist.tap.options import AgentOptions, make_service, the_reactor


class Options(AgentOptions):
    """The flags of `consultwist agent`, for an agent in client mode."""

    mode = "client"


def makeService(options: Options) -> IService:
    """Return the program that twistd runs."""
    return make_service(options, the_reactor())

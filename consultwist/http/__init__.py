"""The HTTP API's front: bytes to `Request`, whatever an endpoint returns to bytes.

An endpoint class declares its routes; a path that ends in a slash is a prefix, and
`Request.rest` is what stands behind it::

    from consultwist.http.body import decode_body
    from consultwist.http.messages import MaybeLater, Request, Response
    from consultwist.http.params import query_options, write_options
    from consultwist.http.responses import Read, index_headers, then
    from consultwist.http.router import Route, collect_routes, route

    _LIST = Read("Fruit.List", "fruits", consistency=True, index_on_error=True)

    class FruitEndpoints:
        def __init__(self, agent: IAgent) -> None:
            self.agent = agent

        @route("GET", "/v1/fruits")
        def fruits(self, request: Request) -> MaybeLater:
            query = DCSpecificRequest(**query_options(request, self.agent))
            return _LIST.ask(self.agent, query)

        @route("PUT", "/v1/fruit/", body_limit="kv_max_value_size")
        def put_fruit(self, request: Request) -> MaybeLater:
            if not request.rest:
                raise BadRequest("Missing fruit name")
            fruit = decode_body(request, Fruit)
            order = FruitRequest(fruit=fruit, **write_options(request, self.agent))
            return self.agent.rpc("Fruit.Apply", order)

        @route("GET", "/v1/agent/basket", acl=agent_read)
        def basket(self, request: Request) -> MaybeLater:
            return {"Basket": self.agent.local_state.basket}

    @implementer(IPlugin, IHTTPEndpoint)
    class FruitRoutes:
        name = "fruit"

        def routes(self, agent: IAgent) -> list[Route]:
            return collect_routes(FruitEndpoints(agent))

What an endpoint may return, at once or by a Deferred or from a coroutine:

* a value: shown as JSON. Records, lists, dicts, ``True``.
* ``None``: an empty answer. ``JSON(None)`` shows ``null``; `JSON` also takes a status
  and header fields.
* `Response`: finished bytes or text with status, content type, header fields.
* `Indexed`, mostly by way of `Read`: a part of an RPC reply with its index headers.
  Finished bodies are kept as long as the part `is` the same object.
* `Stream`: an answer that is fed while it lasts.

What an endpoint may raise: a `ConsultwistError` is answered by its status and text
(``raise BadRequest("Missing key name")``), anything else by 500, and logged. A client
that goes away cancels the Deferred it waited for.

The modules, in the order in which a request meets them: `parser` (bytes to
`Request`), `protocol` (one connection), `site` (finds and calls the endpoint),
`router`, `params`, `responses`, `interface` (listeners).
"""

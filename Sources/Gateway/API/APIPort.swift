import Pipeline

/// What all connections of the API port on one loop share. Confined to that loop.
final class APIPort {
    let loop: LoopContext
    let publisher: Publisher
    let services: APIServices

    init(loop: LoopContext, publisher: Publisher, services: APIServices) {
        self.loop = loop
        self.publisher = publisher
        self.services = services
    }
}

/// What the API port is given: the same on every loop. A class, so that a request that looks at it copies nothing.
final class APIServices: Sendable {
    /// Pages that may publish.
    let origins: Origins
    let refusedOrigins: RefusedOriginLog
    /// What a request must carry; nil when anything that reaches the port may use it. Secret: never printed.
    let token: String?
    /// For the sentence of a refusal.
    let connectionsMax: Int
    let page: PageResponse
    let channels: ChannelReader
    let node: any NodeFacade
    let addresses: BoundAddresses

    init(
        origins: Origins, refusedOrigins: RefusedOriginLog, token: String?, connectionsMax: Int, page: PageResponse, channels: ChannelReader,
        node: any NodeFacade, addresses: BoundAddresses
    ) {
        self.origins = origins
        self.refusedOrigins = refusedOrigins
        self.token = token
        self.connectionsMax = connectionsMax
        self.page = page
        self.channels = channels
        self.node = node
        self.addresses = addresses
    }
}

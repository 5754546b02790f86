import Pipeline

/// State that all API connections of one loop share. Confined to that loop.
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

/// The parts of the node that the API port uses. All loops share one instance. A class, so that a request does not copy the references.
final class APIServices: Sendable {
    /// Origins whose pages may publish.
    let origins: Origins
    let refusedOrigins: RefusedOriginLog
    /// The token that a request must have. Nil if requests need no token. The token is secret and must never be printed.
    let token: String?
    /// Shown in the message of a refusal.
    let connectionsMax: Int
    let page: PageResponse
    let channels: any ChannelDirectory
    let node: any NodeFacade
    let addresses: BoundAddresses

    init(
        origins: Origins, refusedOrigins: RefusedOriginLog, token: String?, connectionsMax: Int, page: PageResponse, channels: any ChannelDirectory,
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

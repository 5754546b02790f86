import Pipeline

/// State that all subscriber connections of one loop share. Confined to that loop.
final class SubscriberPort {
    let loop: LoopContext
    let fanout: Fanout
    /// Origins whose pages may subscribe.
    let origins: Origins
    let refusedOrigins: RefusedOriginLog
    let heartbeats: Heartbeats
    let addresses: BoundAddresses
    /// Shown in the message of a refusal.
    let subscribersMax: Int

    init(
        loop: LoopContext, fanout: Fanout, origins: Origins, refusedOrigins: RefusedOriginLog, heartbeats: Heartbeats, addresses: BoundAddresses,
        subscribersMax: Int
    ) {
        self.loop = loop
        self.fanout = fanout
        self.origins = origins
        self.refusedOrigins = refusedOrigins
        self.heartbeats = heartbeats
        self.addresses = addresses
        self.subscribersMax = subscribersMax
    }
}

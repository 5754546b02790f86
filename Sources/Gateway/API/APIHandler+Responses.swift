import NIOCore
import Pipeline

/// Responses. The `index` of a response is its place in the order of the requests.
extension APIHandler {
    func respond(
        _ index: UInt64, _ status: HTTPStatus, content: ResponseWriter.Content, body: ByteBuffer, headers: String = "", keepAlive: Bool,
        omitBody: Bool = false
    ) {
        var response = ByteBufferAllocator().buffer(capacity: body.readableBytes + 192)
        ResponseWriter.write(
            status, content: content, body: body, headers: headers + self.responses.headers(of: index), keepAlive: keepAlive, omitBody: omitBody,
            into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    func respond(_ index: UInt64, _ failure: HTTPError, keepAlive: Bool, omitBody: Bool = false) {
        if failure.status.isClientError { self.loop.metrics.badRequests += 1 }
        var response = ByteBuffer()
        ResponseWriter.write(failure, headers: self.responses.headers(of: index), keepAlive: keepAlive, omitBody: omitBody, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    /// `headers` already contains the CORS headers, so it replaces the CORS headers that were reserved for this response.
    func respondToPreflight(_ index: UInt64, _ headers: String, _ keepAlive: Bool) {
        var response = ByteBuffer()
        ResponseWriter.write(.noContent, content: .text, body: ByteBuffer(), headers: headers, keepAlive: keepAlive, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    // MARK: - Off the loop

    /// Responds with the body that `work` returns. `work` runs on the cooperative pool, not on the event loop.
    func respond(
        _ index: UInt64, _ keepAlive: Bool, content: ResponseWriter.Content = .json, omitBody: Bool = false,
        _ work: @escaping @Sendable (any NodeFacade) async throws(HTTPError) -> ByteBuffer
    ) {
        let node = self.services.node
        self.executeOffLoop {
            do throws(HTTPError) {
                let body = try await work(node)
                return { $0.respond(index, .ok, content: content, body: body, keepAlive: keepAlive, omitBody: omitBody) }
            } catch {
                return { $0.respond(index, error, keepAlive: keepAlive, omitBody: omitBody) }
            }
        }
    }

    /// Runs `work` on the cooperative pool. Then the closure that `work` returned runs on the event loop, and sends the response.
    func executeOffLoop(_ work: @escaping @Sendable () async -> @Sendable (APIHandler) -> Void) {
        self.isExecutingOffLoop = true
        let eventLoop = self.loop.loop
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        Task {
            let respond = await work()
            eventLoop.execute {
                bound.value.isExecutingOffLoop = false
                respond(bound.value)
                bound.value.resumeReading()
            }
        }
    }

    // MARK: - Writing

    private func complete(_ index: UInt64, _ response: ByteBuffer, closes: Bool) {
        if self.responses.complete(index, with: response, closes: closes, into: &self.output) { self.closesAfterFlush = true }
        self.queueFlush()
    }

    func queueFlush() {
        guard !self.isFlushQueued, self.context != nil, self.output.readableBytes > 0 else { return }
        self.isFlushQueued = true
        self.loop.flushSoon(self)
    }

    /// Sends the completed responses in one write. The loop calls this function at most once in each turn.
    func flush() {
        self.isFlushQueued = false
        guard let context = self.context else { return }
        let output = self.output
        self.output = ByteBuffer()
        context.writeAndFlush(self.wrapOutboundOut(output), promise: nil)
        if self.closesAfterFlush, self.responses.count == 0 {
            self.closeGently()
        } else {
            self.resumeReading()
        }
    }
}

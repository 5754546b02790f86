import NIOCore
import Pipeline

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

    func respond(_ index: UInt64, _ failure: HTTPFailure, keepAlive: Bool, omitBody: Bool = false) {
        if failure.status.isClientError { self.loop.metrics.badRequests += 1 }
        var response = ByteBuffer()
        ResponseWriter.write(failure, headers: self.responses.headers(of: index), keepAlive: keepAlive, omitBody: omitBody, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    /// `headers` say more than those of the request's place, and stand for them.
    func preflight(_ index: UInt64, _ headers: String, _ keepAlive: Bool) {
        var response = ByteBuffer()
        ResponseWriter.write(.noContent, content: .text, body: ByteBuffer(), headers: headers, keepAlive: keepAlive, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    func complete(_ index: UInt64, _ response: ByteBuffer, closes: Bool) {
        if self.responses.complete(index, with: response, closes: closes, into: &self.output) { self.closesAfterFlush = true }
        self.queueFlush()
    }

    func queueFlush() {
        guard !self.isFlushQueued, self.context != nil, self.output.readableBytes > 0 else { return }
        self.isFlushQueued = true
        self.loop.flushSoon(self)
    }

    /// Writes what is ready, in one write. Called by the loop once a turn.
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

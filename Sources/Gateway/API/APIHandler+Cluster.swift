import Coordination
import NIOCore
import Partitioning
import Pipeline

extension APIHandler {
    /// Asks the cluster, and answers what it answers. The request's place in the order of answers is kept.
    func ask(_ asked: ClusterCall.Asked, _ index: UInt64, _ keepAlive: Bool, omitBody: Bool) {
        guard let cluster = self.loop.shared.cluster else {
            return self.respond(index, .unavailable("this node starts; ask again"), keepAlive: keepAlive, omitBody: omitBody)
        }
        self.ask {
            let answer = await Self.answer(asked, by: cluster)
            let status = HTTPStatus(answered: answer.status)
            return {
                $0.respond(
                    index, status, content: .json, body: ByteBuffer(string: answer.body),
                    headers: status == .serviceUnavailable ? "Retry-After: 1\r\n" : "", keepAlive: keepAlive, omitBody: omitBody)
            }
        }
    }

    private static func answer(_ asked: ClusterCall.Asked, by cluster: any ClusterAsking) async -> ClusterAnswer {
        guard let channel = asked.channel else { return await cluster.ask(asked.question) }
        let count = await cluster.partitionCount
        guard count > 0 else {
            let failure = HTTPFailure.unavailable("this node has not read the cluster's configuration yet; ask again")
            return ClusterAnswer(status: failure.status.code, body: String(buffer: ResponseWriter.errorBody(failure)))
        }
        var question = asked.question
        question.partition = Partitions(count: count).partition(ofHash: channel.hash64)
        var answer = await cluster.ask(question)
        // Who answers knows partitions only. Channel names need no escapes.
        if answer.status == 200, answer.body.hasPrefix("{\"") { answer.body = "{\"channel\":\"\(channel)\"," + answer.body.dropFirst() }
        return answer
    }
}

extension HTTPStatus {
    /// What the cluster's answers say as numbers.
    init(answered code: Int) {
        let known: [HTTPStatus] = [.ok, .badRequest, .notFound, .conflict, .serviceUnavailable, .gatewayTimeout]
        self = known.first { $0.code == code } ?? .serviceUnavailable
    }
}

import AdminAPI
import JSON
import NIOCore
import Partitioning
import Pipeline

extension APIHandler {
    /// Executes an operator's request in the cluster, and sends the response.
    func administer(_ request: AdminRequest, _ index: UInt64, _ keepAlive: Bool, omitBody: Bool) {
        guard let cluster = self.services.node.cluster else {
            return self.respond(index, .unavailable("node is starting; retry in a moment"), keepAlive: keepAlive, omitBody: omitBody)
        }
        self.executeOffLoop {
            let response = await Self.response(to: request, from: cluster)
            let status = HTTPStatus(of: response)
            var writer = JSONWriter(ByteBuffer())
            response.write(to: &writer)
            let body = writer.sink
            return {
                $0.respond(
                    index, status, content: .json, body: body, headers: status == .serviceUnavailable ? "Retry-After: 1\r\n" : "", keepAlive: keepAlive,
                    omitBody: omitBody)
            }
        }
    }

    private static func response(to request: AdminRequest, from cluster: any ClusterAdministration) async -> AdminResponse {
        var request = request
        if let name = request.channel, let channel = ChannelName(name) {
            // `cluster` accepts only partitions, so the channel's partition is computed here.
            let count = await cluster.partitionCount
            guard count > 0 else { return .failed(.starting, "this node has not read the cluster's configuration yet; retry in a moment") }
            request.partition = Partitions(count: count).partition(ofHash: channel.hash64)
        }
        return await cluster.respond(to: request)
    }
}

extension HTTPStatus {
    init(of response: AdminResponse) {
        self =
            switch response.error?.code {
            case nil: .ok
            case .badRequest: .badRequest
            case .notFound: .notFound
            case .conflict: .conflict
            case .timeout: .gatewayTimeout
            case .starting, .stopping, .noController, .noZooKeeper, .notAuthorized: .serviceUnavailable
            }
    }
}

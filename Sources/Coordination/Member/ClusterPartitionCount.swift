/// Reads the number of partitions of a cluster before this node joins it.
///
/// The number is fixed when the cluster is created. The sequencers of a node need it when they are made, before the node has its ports and its member znode.
package enum ClusterPartitionCount {
    /// Nil if the cluster does not exist yet, if its configuration cannot be read, or if no server responds in time. The node that joins later compares the
    /// number again.
    package static func read(cluster: String, chroot: String, from configuration: ZooKeeperConfiguration, timeout: Duration) async -> Int? {
        let client = ZooKeeperClient(configuration: configuration)
        let path = ClusterPaths(cluster: cluster, chroot: chroot).configuration
        return await withTaskGroup(of: Int?.self) { group in
            group.addTask {
                await client.run()
                return nil
            }
            group.addTask {
                try? await Task.sleep(for: timeout)
                await client.close()
                return nil
            }
            var count: Int?
            states: for await state in client.states {
                guard case .connected = state.phase else { continue }
                let reply = await client.perform(.get(path: path, watch: false), generation: state.generation, deadline: .now + timeout)
                switch reply {
                case .success(.node(let data, _)): count = (try? ClusterConfiguration(json: data))?.partitionCount
                case .success, .failure(.refused): break
                case .failure: continue states
                }
                break
            }
            group.cancelAll()
            await client.close()
            await group.waitForAll()
            return count
        }
    }
}

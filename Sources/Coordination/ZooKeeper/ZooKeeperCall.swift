import CZooKeeper

/// Hands one request to the C client, which copies all of it before the call returns, except where results go.
struct ZooKeeperCall {
    let handle: OpaquePointer
    /// The context of path watches: one for the handle, so that the client keeps one entry for a path however often it is watched.
    let watches: UnsafeMutableRawPointer?
    /// The context of the completion.
    let context: UnsafeRawPointer?
    let accessList: UnsafePointer<ACL_vector>?
    /// The access list of znodes that all users share.
    let sharedAccessList: UnsafePointer<ACL_vector>?

    private static let anyVersion: Int32 = -1

    /// - Returns: `ZOK` if a completion may follow. With any other result no completion follows and nothing was sent.
    func send(_ request: ZooKeeperRequest, results: ZooKeeperMultiResults?) -> Int32 {
        switch request {
        case .get(let path, let watch):
            return zoo_awget(self.handle, path, watch ? zooKeeperPathWatcher : nil, self.watches, zooKeeperDataCompletion, self.context)
        case .exists(let path, let watch):
            return zoo_awexists(self.handle, path, watch ? zooKeeperPathWatcher : nil, self.watches, zooKeeperExistsCompletion, self.context)
        case .children(let path, let watch):
            return zoo_awget_children2(self.handle, path, watch ? zooKeeperPathWatcher : nil, self.watches, zooKeeperChildrenCompletion, self.context)
        case .create(let path, let data, let ephemeral):
            return data.withCharacters {
                zoo_acreate2(self.handle, path, $0, $1, self.accessList, Self.mode(ephemeral), zooKeeperCreateCompletion, self.context)
            }
        case .createShared(let path):
            return [UInt8]().withCharacters {
                zoo_acreate2(self.handle, path, $0, $1, self.sharedAccessList, Self.mode(false), zooKeeperCreateCompletion, self.context)
            }
        case .set(let path, let data, let version):
            return data.withCharacters { zoo_aset(self.handle, path, $0, $1, version ?? Self.anyVersion, zooKeeperStatCompletion, self.context) }
        case .delete(let path, let version):
            return zoo_adelete(self.handle, path, version ?? Self.anyVersion, zooKeeperDeleteCompletion, self.context)
        case .multi(let parts):
            return self.send(parts, results: results!)
        }
    }

    private func send(_ parts: [ZooKeeperRequest.Part], results: ZooKeeperMultiResults) -> Int32 {
        // The operations point to their paths and data, so these stay allocated in one block until the call returns.
        var operations = [zoo_op_t](repeating: zoo_op_t(), count: parts.count)
        let arena = Arena()
        for (index, part) in parts.enumerated() {
            switch part {
            case .check(let path, let version):
                zoo_check_op_init(&operations[index], arena.string(path), version ?? Self.anyVersion)
            case .create(let path, let data, let ephemeral):
                // Not `create2`, which would return a stat: the C client refuses it in a multi.
                zoo_create_op_init(
                    &operations[index], arena.string(path), arena.bytes(data), Int32(data.count), self.accessList, Self.mode(ephemeral), nil, 0)
            case .set(let path, let data, let version):
                zoo_set_op_init(
                    &operations[index], arena.string(path), arena.bytes(data), Int32(data.count), version ?? Self.anyVersion, results.stat(at: index))
            case .delete(let path, let version):
                zoo_delete_op_init(&operations[index], arena.string(path), version ?? Self.anyVersion)
            }
        }
        return withExtendedLifetime(arena) {
            zoo_amulti(self.handle, Int32(parts.count), operations, results.results.baseAddress, zooKeeperMultiCompletion, self.context)
        }
    }

    private static func mode(_ ephemeral: Bool) -> Int32 {
        ephemeral ? ZOO_EPHEMERAL : ZOO_PERSISTENT
    }
}

/// Copies that live as long as this does.
private final class Arena {
    private var blocks: [UnsafeMutablePointer<CChar>] = []

    func string(_ text: String) -> UnsafePointer<CChar> {
        self.copy(text.utf8)
    }

    func bytes(_ data: [UInt8]) -> UnsafePointer<CChar> {
        self.copy(data)
    }

    private func copy(_ bytes: some Collection<UInt8>) -> UnsafePointer<CChar> {
        let block = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
        for (offset, byte) in bytes.enumerated() { block[offset] = CChar(bitPattern: byte) }
        block[bytes.count] = 0
        self.blocks.append(block)
        return UnsafePointer(block)
    }

    deinit {
        for block in self.blocks { block.deallocate() }
    }
}

extension [UInt8] {
    fileprivate func withCharacters(_ body: (UnsafePointer<CChar>?, Int32) -> Int32) -> Int32 {
        self.withUnsafeBytes { bytes in
            // Never null: for the client null means a znode without data, which differs from a znode with empty data.
            let empty: [CChar] = [0]
            return empty.withUnsafeBufferPointer { body(bytes.baseAddress?.assumingMemoryBound(to: CChar.self) ?? $0.baseAddress, Int32(bytes.count)) }
        }
    }
}

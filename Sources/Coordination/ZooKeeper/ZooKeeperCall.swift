import CZooKeeper

/// Passes one request to the C client. The client copies the whole request before the call returns. Only the memory for results must live longer.
struct ZooKeeperCall {
    let handle: OpaquePointer
    /// The context of path watches. All watches of a handle have the same context, so that the client keeps only one entry for each path.
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
        // The operations contain pointers to paths and data. The arena keeps that memory allocated until the call returns.
        var operations = [zoo_op_t](repeating: zoo_op_t(), count: parts.count)
        let arena = Arena()
        for (index, part) in parts.enumerated() {
            switch part {
            case .check(let path, let version):
                zoo_check_op_init(&operations[index], arena.string(path), version ?? Self.anyVersion)
            case .create(let path, let data, let ephemeral):
                // `create2` would return a stat, but the C client refuses `create2` in a multi.
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

/// Owns copies of strings and bytes, and frees them when it is released.
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
            // The pointer is never null, because null means a znode without data. ZooKeeper distinguishes that from empty data.
            let empty: [CChar] = [0]
            return empty.withUnsafeBufferPointer { body(bytes.baseAddress?.assumingMemoryBound(to: CChar.self) ?? $0.baseAddress, Int32(bytes.count)) }
        }
    }
}

import Foundation
import GRDBSQLite
import NIOConcurrencyHelpers

/// Makes SQLite's calls on files fail on demand, as on a full, broken or missing disk.
///
/// The faults wrap SQLite's own file layer. They affect only files in folders that have faults.
final class Faults: Sendable {
    struct Rules: Sendable {
        /// The result of a write, if it must fail.
        var write: CInt?
        var sync: CInt?
        var read: CInt?
        /// The result of locking the WAL's index. Without that lock nothing can be read.
        var lock: CInt?
        /// The result of locking the WAL's index after the first failed write.
        var lockAfterFailedWrite: CInt?
        /// Bytes that can be written before the disk is full.
        var space = Int.max
    }

    /// A place where one thread is stopped.
    final class Gate: Sendable {
        private let reachedIt = DispatchSemaphore(value: 0)
        private let opened = DispatchSemaphore(value: 0)

        fileprivate func pass() {
            self.reachedIt.signal()
            self.opened.wait()
        }

        /// Returns when a thread waits at the gate.
        func reached() async {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    self.reachedIt.wait()
                    continuation.resume()
                }
            }
        }

        func open() {
            self.opened.signal()
        }
    }

    private let rules = NIOLockedValueBox(Rules())
    private let gate = NIOLockedValueBox<Gate?>(nil)

    /// The faults apply to connections that are opened to files in this folder from now on.
    init(folder: String) {
        FaultyVFS.register()
        FaultyVFS.state.withLockedValue { $0.folders[folder] = self }
    }

    func set(_ change: (inout Rules) -> Void) {
        self.rules.withLockedValue { change(&$0) }
    }

    func heal() {
        self.set { $0 = Rules() }
    }

    /// Stops only the next connection that begins to read or write.
    func holdNextReader() -> Gate {
        let gate = Gate()
        self.gate.withLockedValue { $0 = gate }
        return gate
    }

    fileprivate func passGate() {
        let gate = self.gate.withLockedValue { $0.take() }
        gate?.pass()
    }

    fileprivate func result(_ fault: (Rules) -> CInt?) -> CInt? {
        self.rules.withLockedValue { fault($0) }
    }

    fileprivate func take(_ bytes: Int) -> CInt? {
        self.rules.withLockedValue { rules in
            if rules.write == nil, rules.space >= bytes {
                rules.space -= bytes
                return nil
            }
            rules.lock = rules.lock ?? rules.lockAfterFailedWrite
            return rules.write ?? SQLITE_FULL
        }
    }
}

private enum FaultyVFS {
    struct OpenFile: @unchecked Sendable {
        /// SQLite's own methods: a table that is never freed.
        var methods: UnsafePointer<sqlite3_io_methods>
        var faults: Faults
    }

    struct State: Sendable {
        var folders: [String: Faults] = [:]
        var files: [UInt: OpenFile] = [:]
    }

    static let state = NIOLockedValueBox(State())
    private static let system = OpaqueVFS(sqlite3_vfs_find(nil)!)

    struct OpaqueVFS: @unchecked Sendable {
        let pointer: UnsafeMutablePointer<sqlite3_vfs>

        init(_ pointer: UnsafeMutablePointer<sqlite3_vfs>) { self.pointer = pointer }
    }

    static func register() { _ = self.registered }

    private static let registered: Void = {
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        vfs.initialize(to: system.pointer.pointee)
        vfs.pointee.pNext = nil
        let name = "faulty".utf8CString
        let storedName = UnsafeMutablePointer<CChar>.allocate(capacity: name.count)
        for (index, character) in name.enumerated() { storedName[index] = character }
        vfs.pointee.zName = UnsafePointer(storedName)
        vfs.pointee.xOpen = { _, name, file, flags, outFlags in
            let code = system.pointer.pointee.xOpen(system.pointer, name, file, flags, outFlags)
            if code == SQLITE_OK, let name, let file { FaultyVFS.wrap(file, name: String(cString: name)) }
            return code
        }
        sqlite3_vfs_register(vfs, 1)
    }()

    private static func wrap(_ file: UnsafeMutablePointer<sqlite3_file>, name: String) {
        let faults = self.state.withLockedValue { state in state.folders.first { name.hasPrefix($0.key + "/") }?.value }
        guard let faults, let methods = file.pointee.pMethods else { return }
        self.state.withLockedValue { $0.files[UInt(bitPattern: file)] = OpenFile(methods: methods, faults: faults) }
        file.pointee.pMethods = UnsafePointer(self.methods(over: methods))
    }

    static func original(_ file: UnsafeMutablePointer<sqlite3_file>?) -> OpenFile {
        self.state.withLockedValue { $0.files[UInt(bitPattern: file)]! }
    }

    /// A table of methods that check for faults first. The table is never freed, because a test makes only a few tables.
    private static func methods(over original: UnsafePointer<sqlite3_io_methods>) -> UnsafeMutablePointer<sqlite3_io_methods> {
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        methods.initialize(to: original.pointee)
        methods.pointee.xClose = { file in
            let open = FaultyVFS.original(file)
            _ = FaultyVFS.state.withLockedValue { $0.files.removeValue(forKey: UInt(bitPattern: file)) }
            return open.methods.pointee.xClose(file)
        }
        methods.pointee.xWrite = { file, bytes, count, offset in
            let open = FaultyVFS.original(file)
            return open.faults.take(Int(count)) ?? open.methods.pointee.xWrite(file, bytes, count, offset)
        }
        methods.pointee.xRead = { file, bytes, count, offset in
            let open = FaultyVFS.original(file)
            return open.faults.result { $0.read } ?? open.methods.pointee.xRead(file, bytes, count, offset)
        }
        methods.pointee.xSync = { file, flags in
            let open = FaultyVFS.original(file)
            return open.faults.result { $0.sync } ?? open.methods.pointee.xSync(file, flags)
        }
        methods.pointee.xShmLock = { file, offset, count, flags in
            let open = FaultyVFS.original(file)
            if flags & SQLITE_SHM_SHARED != 0, flags & SQLITE_SHM_LOCK != 0 { open.faults.passGate() }
            // Unlocking must always work.
            let fault = flags & SQLITE_SHM_LOCK != 0 ? open.faults.result { $0.lock } : nil
            return fault ?? open.methods.pointee.xShmLock(file, offset, count, flags)
        }
        return methods
    }
}

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif
import NIOCore
import Partitioning

/// What this node's sequencers seal, append and release, for the checker of `cluster/faults`. `cluster/faulttest/history.py` describes the lines (`own.*`).
///
/// Only a debug build writes it, to the file that the environment variable `TEST_OWNER_HISTORY` names. In a release build these functions are empty.
enum OwnerHistory {
    #if DEBUG
        /// Opened for appending, so that the lines of several sequencers do not mix. Nil without the variable.
        private static let file: Int32? = getenv("TEST_OWNER_HISTORY").flatMap { path in
            let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
            return file < 0 ? nil : file
        }

        static func sealed(_ grants: [Grant]) { self.write("own.seal", grants) }

        static func fenced(_ grants: [Grant]) { self.write("own.fenced", grants) }

        static func released(_ grants: [Grant]) { self.write("own.release", grants) }

        static func assigned(_ batch: LogBatch) { self.write("own.assign", batch) { _ in true } }

        static func committed(_ batch: LogBatch, _ results: [Result<Void, LogError>]) { self.write("own.commit", batch) { !results[$0].isFailure } }

        private static func write(_ kind: String, _ grants: [Grant]) {
            guard let file, !grants.isEmpty else { return }
            let begin = self.begin(kind)
            self.write(grants.map { "\(begin),\"partition\":\($0.partition),\"owner_epoch\":\($0.ownerEpoch)}\n" }.joined(), to: file)
        }

        /// The payload of each event must be JSON. The checker finds the published event by it.
        private static func write(_ kind: String, _ batch: LogBatch, where isWritten: (Int) -> Bool) {
            guard let file, !batch.isEmpty else { return }
            let begin = self.begin(kind)
            var lines = ""
            for (event, index) in zip(batch.events, batch.grantIndices) where isWritten(Int(index)) {
                let grant = batch.grants[Int(index)]
                lines += "\(begin),\"partition\":\(grant.partition),\"owner_epoch\":\(grant.ownerEpoch),\"channel\":\"\(event.event.channel.string)\""
                lines += ",\"position\":\"\(event.position)\",\"data\":\(String(decoding: event.event.payload.readableBytesView, as: UTF8.self))}\n"
            }
            self.write(lines, to: file)
        }

        private static func begin(_ kind: String) -> String {
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            return "{\"t\":\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000),\"e\":\"\(kind)\""
        }

        /// One call for all lines, because a node may be killed at any moment.
        private static func write(_ lines: String, to file: Int32) {
            var lines = lines
            lines.withUTF8 { bytes in _ = writev(file, [iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)], 1) }
        }
    #else
        static func sealed(_ grants: [Grant]) {}
        static func fenced(_ grants: [Grant]) {}
        static func released(_ grants: [Grant]) {}
        static func assigned(_ batch: LogBatch) {}
        static func committed(_ batch: LogBatch, _ results: [Result<Void, LogError>]) {}
    #endif
}

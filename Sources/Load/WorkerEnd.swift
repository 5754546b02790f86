/// The coordinator's end of the link to one worker, and the worker's reports.
final class WorkerEnd {
    var link: LineLink
    /// The id of the worker's process. 0 if the worker is a thread.
    let pid: Int32
    private(set) var isConnected = false
    private(set) var hasPublished = false
    private(set) var hasEnded = false
    /// The numbers of connected and failed subscribers, and of published and received events.
    private(set) var progress: [UInt64] = [0, 0, 0, 0]
    /// The worker's counts of published events, as lines for all workers.
    private(set) var publishedLines: [String] = []
    private(set) var tally = WorkerTally()

    var connected: UInt64 { self.progress[0] }

    init(link: consuming LineLink, pid: Int32) {
        self.link = link
        self.pid = pid
    }

    func read() {
        for line in self.link.lines() {
            switch line.prefix(while: { $0 != " " }) {
            case "progress":
                let numbers = line.split(separator: " ").dropFirst().compactMap { UInt64($0) }
                if numbers.count == 4 { self.progress = numbers }
            case "connected": self.isConnected = true
            case "published": self.publishedLines.append("final" + line.dropFirst("published".count))
            case "uncertain": self.publishedLines.append(line)
            case "published-end": self.hasPublished = true
            case "end": self.hasEnded = true
            default: self.tally.read(line: line)
            }
        }
    }
}

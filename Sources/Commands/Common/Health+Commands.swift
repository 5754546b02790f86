import AdminAPI

extension Health {
    var exitStatus: CommandStatus {
        switch self {
        case .healthy: .ok
        case .degraded: .degraded
        case .critical: .critical
        }
    }

    var colour: Terminal.Colour {
        switch self {
        case .healthy: .green
        case .degraded: .yellow
        case .critical: .red
        }
    }
}

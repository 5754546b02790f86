import Partitioning
import Testing

@testable import Relay

@Suite struct RouteTableTests {
    private static func grant(_ partition: PartitionID, _ ownerEpoch: OwnerEpoch) -> Grant { Grant(partition: partition, ownerEpoch: ownerEpoch) }

    @Test func theHighestOwnerEpochCounts() {
        var routes = RouteTable(partitions: 4)
        #expect(routes.acquired([Self.grant(1, 5)], by: .session(1)) == [1])
        #expect(routes.acquired([Self.grant(1, 7)], by: .session(2)) == [1])
        #expect(routes.acquired([Self.grant(1, 6)], by: .here) == [], "an owner that has been replaced already")
        #expect(routes[1] == RouteTable.Route(target: .session(2), ownerEpoch: 7))
        #expect(routes.ended([Self.grant(1, 7)], by: .session(2)) == [1])
        #expect(routes[1] == RouteTable.Route(target: .here, ownerEpoch: 6))
        #expect(routes[0] == nil && routes[2] == nil)
    }

    @Test func theEndOfAnOlderGrantChangesNothing() {
        var routes = RouteTable(partitions: 2)
        _ = routes.acquired([Self.grant(0, 5)], by: .session(1))
        #expect(routes.acquired([Self.grant(0, 8)], by: .session(1)) == [0])
        #expect(routes.ended([Self.grant(0, 5)], by: .session(1)) == [])
        #expect(routes.ended([Self.grant(0, 8)], by: .session(2)) == [])
        #expect(routes[0] == RouteTable.Route(target: .session(1), ownerEpoch: 8))
    }

    @Test func aClosedSessionEndsItsAnnouncements() {
        var routes = RouteTable(partitions: 3)
        _ = routes.acquired([Self.grant(0, 1), Self.grant(1, 1), Self.grant(2, 9)], by: .session(1))
        _ = routes.acquired([Self.grant(1, 2), Self.grant(2, 3)], by: .session(2))
        #expect(routes.closed(.session(1)) == [0, 2])
        #expect(routes[0] == nil && routes[1]?.target == .session(2) && routes[2] == RouteTable.Route(target: .session(2), ownerEpoch: 3))
        #expect(routes.closed(.session(1)) == [])
    }

    @Test func partitionsThatDoNotExistAreIgnored() {
        var routes = RouteTable(partitions: 2)
        #expect(routes.acquired([Self.grant(2, 1), Self.grant(65_535, 1)], by: .session(1)) == [])
        #expect(routes.ended([Self.grant(2, 1)], by: .session(1)) == [])
    }
}

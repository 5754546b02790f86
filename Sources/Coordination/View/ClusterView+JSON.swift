package import JSON

/// The text format of `/view`: compact, with columns for the values of partitions.
///
/// ```json
/// {"v":8123,"ce":17,"writer":"n3/412316860418/991","at":1795000000000,"mode":"normal",
///  "nodes":[{"id":"n1","inc":412316860417,"link":"10.0.0.1:7400","api":"10.0.0.1:8081","zone":"a","w":1,"ver":"1.4.0","st":"active"}, …],
///  "owner":[0,0,-1],"oe":[5,5,6],"moves":[{"id":77,"p":0,"to":"n2","why":"drain"}]}
/// ```
/// `owner` holds indexes into `nodes`, -1 for an orphan. Unknown fields are kept, and written after the known ones.
extension ClusterView {
    /// Throws if the view contradicts itself or is longer than `bytesMax`.
    package func json() throws(JSONError) -> [UInt8] {
        try self.validate()
        let indexes = Dictionary(uniqueKeysWithValues: self.nodes.enumerated().map { ($0.element.id, $0.offset) })
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("v", self.version)
            writer.field("ce", self.controllerEpoch)
            writer.field("writer", self.writer)
            writer.field("at", self.writtenAt)
            if !self.remainder.contains("mode") { writer.field("mode", self.mode.rawValue) }
            writer.name("nodes")
            writer.array { writer in for node in self.nodes { node.write(to: &writer) } }
            writer.name("owner")
            writer.array { writer in for partition in self.partitions { writer.integer(partition.owner.map { indexes[$0]! } ?? -1) } }
            writer.name("oe")
            writer.array { writer in for partition in self.partitions { writer.integer(partition.ownerEpoch) } }
            writer.name("moves")
            writer.array { writer in for partition in self.moving { self.partitions[partition].move!.write(of: partition, to: &writer) } }
            writer.fields(self.remainder)
        }
        guard writer.bytes.count <= ClusterView.bytesMax else {
            throw JSONError("the view has \(writer.bytes.count) bytes; the limit is \(ClusterView.bytesMax)")
        }
        return writer.bytes
    }

    /// Throws a message that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONError) {
        var object = try JSONValue(bytes, named: "view", bytesMax: ClusterView.bytesMax).object()
        var remainder = JSONRemainder()
        self.init(
            version: try object.integer("v", in: 0...ClusterView.ownerEpochMax - ClusterView.headroom),
            controllerEpoch: Int32(try object.integer("ce", in: 0...Int64(Int32.max) - ClusterView.headroom)),
            writer: try object.string("writer", bytesMax: ClusterView.textBytesMax),
            writtenAt: try object.integer("at", in: 0...Int64.max),
            mode: try object.name("mode", unknown: .maintenance, remainder: &remainder),
            nodes: try ClusterView.elements(try object.required("nodes"), countMax: ClusterView.nodeCountMax) { (value) throws(JSONError) in try Node(value)
            },
            partitions: [])
        self.partitions = try ClusterView.partitions(&object, nodes: self.nodes)
        try self.readMoves(try object.required("moves"))
        object.rest(into: &remainder)
        self.remainder = remainder
        do { try self.validate() } catch { throw JSONError("view: \(error)") }
    }

    /// Whether bytes that this version cannot read may be a view of a newer version.
    static func isVersioned(_ bytes: [UInt8]) -> Bool {
        guard var object = try? JSONValue(bytes, named: "view", bytesMax: ClusterView.bytesMax).object() else { return false }
        return (try? object.integer("v", in: 0...Int64.max)) != nil
    }

    private static func elements<Element>(
        _ value: JSONValue, countMax: Int, _ element: (JSONValue) throws(JSONError) -> Element
    ) throws(JSONError) -> [Element] {
        var elements: [Element] = []
        for value in try value.array(countMax: countMax) { elements.append(try element(value)) }
        return elements
    }

    private static func partitions(_ object: inout JSONObject, nodes: [Node]) throws(JSONError) -> [Partition] {
        let owners = try object.required("owner").integers(in: -1...Int64(nodes.count) - 1, countMax: ClusterView.partitionCountMax)
        let epochs = try object.required("oe").integers(in: 0...ClusterView.ownerEpochMax - ClusterView.headroom, countMax: ClusterView.partitionCountMax)
        guard owners.count == epochs.count else { throw JSONError("view.owner has \(owners.count) elements and view.oe \(epochs.count)") }
        return zip(owners, epochs).map { Partition(owner: $0 < 0 ? nil : nodes[Int($0)].id, ownerEpoch: $1) }
    }

    private mutating func readMoves(_ value: JSONValue) throws(JSONError) {
        for value in try value.array(countMax: self.partitions.count) {
            var object = try value.object()
            let partition = Int(try object.integer("p", in: 0...Int64(self.partitions.count) - 1))
            guard self.partitions[partition].move == nil else { throw JSONError("\(value.name) contains a second move of partition \(partition)") }
            self.partitions[partition].move = try Move(&object)
        }
    }
}

extension ClusterView.Node {
    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        var remainder = JSONRemainder()
        self.init(
            id: try object.string("id", bytesMax: 64),
            incarnation: try object.optional("inc")?.integer(in: 0...Int64.max),
            link: try object.string("link", bytesMax: ClusterView.textBytesMax),
            api: try object.string("api", bytesMax: ClusterView.textBytesMax),
            zone: try object.string("zone", bytesMax: ClusterView.textBytesMax),
            weight: try object.required("w").number(in: 0...ClusterView.weightMax),
            version: try object.string("ver", bytesMax: ClusterView.textBytesMax),
            state: try object.name("st", unknown: .fenced, remainder: &remainder))
        self.desired = try object.optional("desired").map { (value) throws(JSONError) in try NodeRecord(value) }
        object.rest(into: &remainder)
        self.remainder = remainder
    }

    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("id", self.id)
            if let incarnation = self.incarnation { writer.field("inc", incarnation) }
            writer.field("link", self.link)
            writer.field("api", self.api)
            writer.field("zone", self.zone)
            writer.field("w", self.weight)
            writer.field("ver", self.version)
            if !self.remainder.contains("st") { writer.field("st", self.state.rawValue) }
            if let desired {
                writer.name("desired")
                writer.raw(String(decoding: desired.json, as: UTF8.self))
            }
            writer.fields(self.remainder)
        }
    }
}

extension ClusterView.Move {
    fileprivate init(_ object: inout JSONObject) throws(JSONError) {
        var remainder = JSONRemainder()
        self.init(
            id: try object.integer("id", in: 0...Int64.max), to: try object.string("to", bytesMax: 64),
            reason: try object.name("why", unknown: .operator, remainder: &remainder))
        object.rest(into: &remainder)
        self.remainder = remainder
    }

    fileprivate func write(of partition: Int, to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("id", self.id)
            writer.field("p", partition)
            writer.field("to", self.to)
            if !self.remainder.contains("why") { writer.field("why", self.reason.rawValue) }
            writer.fields(self.remainder)
        }
    }
}

import NIOCore
import Partitioning
import TestKit
import Testing

@testable import Link

@Suite struct LinkFrameTests {
    private static func frames(_ count: Int, _ generator: inout SplitMix) -> [LinkFrame] {
        (0..<count).map { _ in
            LinkFrame(
                kind: .allCases.randomElement(using: &generator)!, viewVersion: Int64(bitPattern: generator.next()), payload: generator.bytes(upTo: 60))
        }
    }

    private static func bytes(_ frames: [LinkFrame]) -> [UInt8] {
        var buffer = ByteBuffer()
        for frame in frames { frame.write(into: &buffer) }
        return Array(buffer.readableBytesView)
    }

    /// Written frames are decoded, for any split of the bytes.
    @Test(arguments: 0..<200) func framesAreDecodedForAnySplit(seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        let frames = Self.frames(1 + generator.below(12), &generator)
        var decoder = LinkFrameDecoder(payloadBytesMax: 60)
        var read: [LinkFrame] = []
        for piece in generator.pieces(Self.bytes(frames)) {
            decoder.feed(ByteBuffer(bytes: piece))
            while let frame = try decoder.nextFrame() { read.append(frame) }
        }
        #expect(read == frames)
    }

    private static func complaint(_ decoder: inout LinkFrameDecoder) -> String? {
        do throws(LinkFrameDecoder.Malformed) { _ = try decoder.nextFrame() } catch { return error.description }
        return nil
    }

    @Test func invalidFramesAreRefused() throws {
        var decoder = LinkFrameDecoder(payloadBytesMax: 10)
        decoder.feed(ByteBuffer(bytes: Self.bytes([LinkFrame(kind: .message, viewVersion: 0, payload: [UInt8](repeating: 1, count: 10))])))
        let frame = try decoder.nextFrame()
        #expect(frame?.payload.count == 10)
        // A frame that is too long is refused as soon as its length has arrived, so its payload is not buffered.
        decoder.feed(ByteBuffer(bytes: [0, 0, 0, 20]))
        #expect(Self.complaint(&decoder) == "a frame of 20 bytes is too long: at most 19 are allowed")
        for (bytes, sentence) in [
            ([0, 0, 0, 8, 1], "too short"), ([0, 0, 0, 9, 99, 0, 0, 0, 0, 0, 0, 0, 0], "unknown kind 99"), ([0x15, 3, 1, 0, 2, 2, 40], "uses TLS"),
        ] as [([UInt8], String)] {
            var decoder = LinkFrameDecoder(payloadBytesMax: 10)
            decoder.feed(ByteBuffer(bytes: bytes))
            #expect(Self.complaint(&decoder)?.contains(sentence) == true)
        }
    }

    /// For any input, an unauthenticated connection stays unauthenticated, and sends at most one frame.
    @Test(arguments: 0..<300) func anUnauthenticatedPeerGetsAtMostAChallenge(seed: UInt64) {
        var generator = SplitMix(seed: seed)
        let secret = LinkSecret("secret")
        let own = LinkIdentity(cluster: "c", process: ProcessID(id: "b", incarnation: 2), protocols: 1...1, version: "1")
        let hello = LinkHello(
            identity: LinkIdentity(cluster: "c", process: ProcessID(id: "a", incarnation: 1), protocols: 1...1, version: "1"),
            to: ProcessID(id: "b", incarnation: 2),
            nonce: LinkHello.makeNonce())
        var frames = [LinkFrame(kind: .hello, viewVersion: 1, payload: hello.json)]
        frames.append(LinkFrame(kind: .proof, viewVersion: 1, payload: generator.bytes(upTo: 40)))
        frames += Self.frames(generator.below(4), &generator)
        var bytes = Self.bytes(frames)
        if generator.below(4) > 0 { bytes = generator.mutate(bytes, with: ["\"inc\":", "{}", "[1,2]", "\u{0}", "null", "1e999", "\\ud800"]) }
        var machine = LinkMachine(.incoming, identity: own, to: nil, nonce: LinkHello.makeNonce(), secret: secret, limits: LinkLimits(), now: 0)
        var decoder = LinkFrameDecoder(payloadBytesMax: LinkHello.bytesMax)
        var actions: [LinkMachine.Action] = []
        do {
            for piece in generator.pieces(bytes) {
                decoder.feed(ByteBuffer(bytes: piece))
                while let frame = try decoder.nextFrame() { actions += machine.received(frame, now: 1) }
            }
        } catch {
            actions += machine.malformed("\(error)")
        }
        for action in actions {
            switch action {
            case .up, .received, .peerView, .roundTrip: Issue.record("trusted an unauthenticated peer: \(action)")
            case .send(let kind, _): #expect(kind == .challenge)
            case .close(let loss, _): #expect("\(loss)".unicodeScalars.allSatisfy { (0x20...0x7e).contains($0.value) }, "\(loss)")
            }
        }
        #expect(actions.count { if case .close = $0 { true } else { false } } <= 1)
    }

    @Test(arguments: 0..<300) func hellosAreDecodedAndNamesArePrintable(seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        let hello = LinkHello(
            identity: LinkIdentity(cluster: "c", process: ProcessID(id: "a\(seed)", incarnation: Int64(seed)), protocols: 1...Int(1 + seed), version: "0.1"),
            to: seed % 2 == 0 ? nil : ProcessID(id: "b", incarnation: .max), use: seed % 4 == 1 ? .data : .control, nonce: LinkHello.makeNonce())
        #expect(try LinkHello(json: hello.json) == hello)
        #expect(hello.json.count <= LinkHello.bytesMax)
        // Decoding never traps, and accepted names are safe to log.
        if let other = try? LinkHello(json: generator.mutate(hello.json, with: ["[9,1]", "null", "-1", "\"", "\\n", "18446744073709551616"])) {
            #expect((other.identity.id + other.identity.cluster + other.identity.version).utf8.allSatisfy { (0x21...0x7e).contains($0) })
            #expect(other.identity.process.incarnation >= 0)
        }
    }

    @Test func aProofIsValidForOneSideAndConnection() {
        let secret = LinkSecret("one")
        let proof = secret.proof(by: .outgoing, hello: [1, 2], challenge: [3])
        #expect(proof.count == LinkSecret.proofBytes)
        #expect(secret.isProof(proof, by: .outgoing, hello: [1, 2], challenge: [3]))
        // The proof is invalid for the other side, another connection, another secret, or another split of the bytes.
        #expect(!secret.isProof(proof, by: .incoming, hello: [1, 2], challenge: [3]))
        #expect(!secret.isProof(proof, by: .outgoing, hello: [1, 2], challenge: [4]))
        #expect(!secret.isProof(proof, by: .outgoing, hello: [1], challenge: [2, 3]))
        #expect(!LinkSecret("two").isProof(proof, by: .outgoing, hello: [1, 2], challenge: [3]))
        #expect(!secret.isProof([], by: .outgoing, hello: [1, 2], challenge: [3]))
        #expect("\(secret)" == "<hidden>")
    }
}

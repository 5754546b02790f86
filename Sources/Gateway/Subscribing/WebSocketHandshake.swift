import Crypto
import JSON
import Pipeline

/// The opening handshake (RFC 6455 §4.2). Pure.
enum WebSocketHandshake {
    /// The subprotocol, for clients that must offer one. Each text frame is an envelope or a gap.
    private static let subprotocol = "realertime.v1"
    private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// Returns the head of the response. Throws the reason for a refusal.
    static func response(to head: RequestHead) throws(HTTPError) -> String {
        guard head.isVersion11, head.has("connection", token: "upgrade"), head.has("upgrade", token: "websocket") else {
            throw Self.upgradeRequired("/ws/ is for WebSocket; send Connection: Upgrade and Upgrade: websocket")
        }
        guard head.field("sec-websocket-version") == "13" else { throw Self.upgradeRequired("this WebSocket version is not supported; send version 13") }
        guard let key = head.field("sec-websocket-key"), key.utf8.count == 24, key.hasSuffix("=="),
            key.utf8.dropLast(2).allSatisfy(Self.isBase64)
        else {
            throw .badRequest("Sec-WebSocket-Key must be 16 bytes in base64")
        }
        // A browser that offers subprotocols fails the connection if the response selects none of them.
        let offered = head.list("sec-websocket-protocol")?.split(separator: ",") ?? []
        let chosen = offered.contains { $0.trimmingSpaces() == Self.subprotocol } ? "Sec-WebSocket-Protocol: \(Self.subprotocol)\r\n" : ""
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(Self.accept(key))\r\n"
            + chosen + "\r\n"
    }

    static func accept(_ key: String) -> String {
        var hash = Insecure.SHA1()
        hash.update(data: Array((key + self.guid).utf8))
        return Base64.string(Array(hash.finalize()))
    }

    private static func upgradeRequired(_ message: String) -> HTTPError {
        HTTPError(
            .upgradeRequired, "upgrade_required", message, header: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, UInt8(ascii: "+"), UInt8(ascii: "/"): true
        default: false
        }
    }
}

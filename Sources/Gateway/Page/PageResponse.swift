import JSON
import Crypto
import NIOCore
import Pipeline

/// The page, with headers that restrict the page to what it needs.
struct PageResponse: Sendable {
    let body = ByteBuffer(string: Page.html)
    let headers: String

    init() {
        // Scripts and styles are allowed by hash. A script that an event injects would not run.
        self.headers =
            "Content-Security-Policy: default-src 'none'; script-src 'sha256-\(Self.hash(Page.script))'; style-src 'sha256-\(Self.hash(Page.style))'; "
            + "connect-src *; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
            + "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    }

    private static func hash(_ text: String) -> String {
        Base64.string(Array(SHA256.hash(data: Array(text.utf8))))
    }
}

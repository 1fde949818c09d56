// OAUTHBEARER's exchange: what a client says first, and what follows a token that is not taken.
import Primitives
import Testing

@testable import Authentication

@Suite("OAUTHBEARER")
struct OAuthBearerMessageTests {
    private func message(_ text: String) -> OAuthBearerMessage? { OAuthBearerMessage(Array(text.utf8)) }

    private let alice = AccessToken(principalName: "alice", expirationMilliseconds: 5000, issuedAtMilliseconds: 0, scopes: [])

    @Test("Messages of clients")
    func right() {
        #expect(message("n,,\u{1}auth=Bearer a.b-c_d~+/==\u{1}\u{1}") == .init(id: "", token: "a.b-c_d~+/=="))
        #expect(message("n,a=al=2Cic=3De,\u{1}auth=bearer   x\u{1}\u{1}") == .init(id: "al,ic=e", token: "x"))
        // RFC 7628 section 4.1
        #expect(
            message(
                "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}"
            )
                == .init(
                    id: "user@example.com", token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
                    extensions: [.init(name: "host", value: "server.example.com"), .init(name: "port", value: "143")]))
        #expect(OAuthBearerMessage(OAuthBearerMessage.bytes(token: "x.y.z"))?.token == "x.y.z")
    }

    @Test(
        "Everything else is none",
        arguments: [
            "", "\u{1}", "n,,", "n,,\u{1}\u{1}", "n,,\u{1}auth=Bearer x\u{1}", "n,,auth=Bearer x\u{1}\u{1}",
            "y,,\u{1}auth=Bearer x\u{1}\u{1}",
            "p=tls,,\u{1}auth=Bearer x\u{1}\u{1}", "n,a=,\u{1}auth=Bearer x\u{1}\u{1}", "n,b=c,\u{1}auth=Bearer x\u{1}\u{1}",
            "n,a=x=2X,\u{1}auth=Bearer x\u{1}\u{1}", "n,a=x=,\u{1}auth=Bearer x\u{1}\u{1}", "n,,\u{1}auth=Basic x\u{1}\u{1}",
            "n,,\u{1}auth=Bearer\u{1}\u{1}", "n,,\u{1}auth=Bearer \u{1}\u{1}", "n,,\u{1}auth=Bearerx\u{1}\u{1}",
            "n,,\u{1}auth=Bearer =\u{1}\u{1}",
            "n,,\u{1}auth=Bearer a=b\u{1}\u{1}", "n,,\u{1}auth=Bearer a b\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}auth=Bearer a\u{1}\u{1}",
            "n,,\u{1}auth=Bearer a\u{1}k1=v\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}k=\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}=v\u{1}\u{1}",
            "n,,\u{1}auth=Bearer a\u{1}k=ä\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}k=v\u{1}k=v\u{1}\u{1}",
            "n,,\u{1}auth=Bearer a\u{1}kv\u{1}\u{1}", "n,,\u{1}k=v\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}\u{1}x",
            "n,,\u{1}\u{1}auth=Bearer a\u{1}\u{1}",
            "n,,x\u{1}auth=Bearer a\u{1}\u{1}",
        ])
    func wrong(_ text: String) {
        #expect(message(text) == nil)
        var server = OAuthBearerServer()
        #expect(server.step(Array(text.utf8)) { _ in .success(alice) } == .failed(.malformed))
    }

    @Test("Too many extensions are none; random bytes neither")
    func bounds() {
        func names(_ count: Int) -> String {
            (0..<count).map { "\(String(repeating: "a", count: $0 + 1))=v\u{1}" }.joined()
        }
        #expect(message("n,,\u{1}\(names(64))auth=Bearer a\u{1}\u{1}")?.extensions.count == 64)
        #expect(message("n,,\u{1}\(names(65))auth=Bearer a\u{1}\u{1}") == nil)
        var random = SeededRandom(seed: 3)
        let good = Array("n,a=alice,\u{1}host=h\u{1}auth=Bearer a.b.c\u{1}\u{1}".utf8)
        for _ in 0..<5000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let found = OAuthBearerMessage(bytes) { #expect(!found.token.isEmpty && found.extensions.count <= 1) }
        }
    }

    @Test("A token that is taken")
    func taken() {
        var server = OAuthBearerServer()
        #expect(
            server.step(OAuthBearerMessage.bytes(token: "t")) { $0 == "t" ? .success(alice) : .failure(.wrongSignature) }
                == .complete([], user: "alice", expiration: 5000))
        server = OAuthBearerServer()
        #expect(
            server.step(Array("n,a=alice,\u{1}auth=Bearer t\u{1}\u{1}".utf8)) { _ in .success(alice) }
                == .complete([], user: "alice", expiration: 5000))
        server = OAuthBearerServer()
        #expect(
            server.step(Array("n,a=bob,\u{1}auth=Bearer t\u{1}\u{1}".utf8)) { _ in .success(alice) }
                == .failed(.otherTokenOwner(user: "alice", requested: "bob")))
    }

    @Test("A token that is not, as both sides see it")
    func refused() {
        let first = OAuthBearerMessage.bytes(token: "t")
        var client = SaslClientExchange(SaslCredentials(mechanism: .oauthBearer, user: "", password: "t"), nonce: "")
        var server = SaslServerExchange.oauthBearer()
        func step(_ message: [UInt8]) -> SaslServerStep {
            server.step(message, password: { _ in nil }, keys: { _, _ in nil }, accessToken: { _ in .failure(.wrongSignature) })
        }
        #expect(client.firstMessage == first && server.mechanismName == "OAUTHBEARER")
        let error = Array(#"{"status":"invalid_token"}"#.utf8)
        #expect(step(first) == .refused(error, .token(.wrongSignature)))
        #expect(client.step(error) == .respond([1]))
        #expect(step([1]) == .failed(.token(.wrongSignature)))
        // Nobody gets to show another token on the same exchange.
        server = .oauthBearer()
        _ = step(first)
        #expect(
            server.step(first, password: { _ in nil }, keys: { _, _ in nil }, accessToken: { _ in .success(alice) }) == .failed(.malformed))
        var good = SaslClientExchange(SaslCredentials(mechanism: .oauthBearer, user: "", password: "t"), nonce: "")
        #expect(good.step([]) == .complete)
        #expect(!"\(SaslCredentials(mechanism: .oauthBearer, user: "", password: "s3cret"))".contains("s3cret"))
    }

    @Test("Nothing from outside makes a message long")
    func clippedMessages() {
        let long = String(repeating: "x", count: 100_000)
        let failures: [TokenFailure] = [
            .algorithm(long), .unknownKey(id: long, algorithm: "RS256"), .wrongIssuer(long, user: nil),
            .wrongAudience([long, long], user: nil),
        ]
        for failure in failures { #expect(failure.description.utf8.count < 400) }
    }
}

extension OAuthBearerMessage {
    fileprivate init(id: String, token: String, extensions: [Extension] = []) {
        self.init(authorizationID: id, token: token, extensions: extensions)
    }
}

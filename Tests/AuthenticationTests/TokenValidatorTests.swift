// What is in a token, right and wrong: every algorithm, every rule about claims, every way to damage one.
import Primitives
import Testing

@testable import Authentication

@Suite("Tokens")
struct TokenValidatorTests {
    private let issuer = TokenIssuer.shared
    private let rules = TokenValidator(expectedAudience: ["kafka", "cluster-7"], expectedIssuer: "https://issuer.example")

    private func outcome(_ token: String, _ rules: TokenValidator? = nil, now: Int64 = TokenIssuer.now) throws
        -> Result<AccessToken, TokenFailure>
    {
        let keys = try issuer.keySet
        do throws(TokenFailure) {
            return .success(try (rules ?? self.rules).validate(token, keys, now: now))
        } catch {
            return .failure(error)
        }
    }

    private func failure(_ rules: TokenValidator? = nil, now: Int64 = TokenIssuer.now, _ change: (inout JSONObject) -> Void) throws
        -> TokenFailure?
    {
        switch try outcome(try issuer.token(changing: change), rules, now: now) {
        case .success: return nil
        case .failure(let failure): return failure
        }
    }

    @Test("A good token is taken, whatever it is signed by", arguments: SignatureAlgorithm.allCases)
    func algorithms(_ algorithm: SignatureAlgorithm) throws {
        let expected = AccessToken(
            principalName: "alice", expirationMilliseconds: TokenIssuer.now + 600_000, issuedAtMilliseconds: TokenIssuer.now - 10_000,
            scopes: ["read", "write"])
        #expect(try outcome(try issuer.token(algorithm)) == .success(expected))
        // Without a key id every key of the kind is tried.
        #expect(try outcome(try issuer.token(algorithm, keyID: .some(nil))) == .success(expected))
        let other = try TokenIssuer()
        #expect(try outcome(try other.token(algorithm)) == .failure(.wrongSignature))
        #expect(
            try outcome(try issuer.token(algorithm, keyID: "new")) == .failure(.unknownKey(id: "new", algorithm: algorithm.rawValue)))
    }

    @Test(
        "Algorithms without a public key are not taken, nor one for a key of another kind",
        arguments: ["none", "None", "NONE", "HS256", "HS384", "HS512", "", "rs256", "RS1", "ES256K"])
    func otherAlgorithms(_ name: String) throws {
        let parts = try issuer.token(.rs256).split(separator: ".").map(String.init)
        let header = TokenIssuer.encoded(#"{"alg":"\#(name)","kid":"rsa"}"#.utf8)
        #expect(try outcome([header, parts[1], parts[2]].joined(separator: ".")) == .failure(.algorithm(name)))
        #expect(try outcome([header, parts[1], ""].joined(separator: ".")) == .failure(.malformed("it has not three parts")))
    }

    @Test("The key's kind must be the algorithm's")
    func otherFamilies() throws {
        let token = try issuer.token(.es256, keyID: "rsa")
        #expect(try outcome(token) == .failure(.unknownKey(id: "rsa", algorithm: "ES256")))
        // The header is changed from one algorithm of RSA to another: the signature is not that one's.
        let parts = try issuer.token(.rs256).split(separator: ".").map(String.init)
        let header = TokenIssuer.encoded(#"{"alg":"PS256","kid":"rsa"}"#.utf8)
        #expect(try outcome([header, parts[1], parts[2]].joined(separator: ".")) == .failure(.wrongSignature))
    }

    @Test("Times, with the clocks' difference")
    func times() throws {
        let second = TokenIssuer.now / 1000
        #expect(
            try failure {
                $0["exp"] = .integer(second - 29); $0["iat"] = .integer(second - 29)
            } == nil)
        #expect(try failure { $0["exp"] = .integer(second - 30) } == .expired(at: second - 30, user: "alice"))
        #expect(try failure { $0["nbf"] = .integer(second + 30) } == nil)
        #expect(try failure { $0["nbf"] = .integer(second + 31) } == .notYetValid(until: second + 31, user: "alice"))
        #expect(try failure { $0["exp"] = .number(Double(second) + 60.5) } == nil)
        #expect(try failure { $0["exp"] = nil } == .missingClaim("exp"))
        #expect(try failure { $0["iat"] = nil } == .missingClaim("iat"))
        #expect(try failure { $0["iat"] = .integer(second + 601) } == .wrongClaim("exp", "is before 'iat'"))
        #expect(
            try failure {
                $0["exp"] = .integer(second + 20); $0["nbf"] = .integer(second + 25)
            } == .wrongClaim("exp", "is before 'nbf'"))
        for wrong: JSONValue in ["soon", nil, true, [], .integer(-1), .integer(.max), .number(1e300)] {
            #expect(try failure { $0["exp"] = wrong } == .wrongClaim("exp", "is no time"))
        }
        var strict = rules
        strict.clockSkewSeconds = 0
        #expect(try failure(strict) { $0["exp"] = .integer(second) } == .expired(at: second, user: "alice"))
        #expect(try failure(strict) { $0["exp"] = .integer(second + 1) } == nil)
    }

    @Test("Who issued it, and for whom")
    func origin() throws {
        #expect(try failure { $0["iss"] = "https://issuer.example/" } == .wrongIssuer("https://issuer.example/", user: "alice"))
        #expect(try failure { $0["iss"] = nil } == .wrongIssuer(nil, user: "alice"))
        #expect(try failure { $0["iss"] = ["https://issuer.example"] } == .wrongIssuer(nil, user: "alice"))
        #expect(try failure { $0["aud"] = "cluster-7" } == nil)
        #expect(try failure { $0["aud"] = "Kafka" } == .wrongAudience(["Kafka"], user: "alice"))
        #expect(try failure { $0["aud"] = ["a", "b"] } == .wrongAudience(["a", "b"], user: "alice"))
        #expect(try failure { $0["aud"] = nil } == .wrongAudience([], user: "alice"))
        #expect(try failure { $0["aud"] = [] } == .wrongAudience([], user: "alice"))
        #expect(try failure { $0["aud"] = 7 } == .wrongClaim("aud", "is neither text nor a list of texts"))
        #expect(try failure { $0["aud"] = ["kafka", 7] } == .wrongClaim("aud", "is neither text nor a list of texts"))
        let open = TokenValidator(expectedAudience: [], expectedIssuer: nil)
        #expect(
            try failure(open) {
                $0["aud"] = nil; $0["iss"] = nil
            } == nil)
        #expect(
            try failure(open) {
                $0["aud"] = "x"; $0["iss"] = "y"
            } == nil)
    }

    @Test("The user's name and the scopes")
    func names() throws {
        #expect(try failure { $0["sub"] = nil } == .missingClaim("sub"))
        #expect(try failure { $0["sub"] = 7 } == .wrongClaim("sub", "is no text"))
        #expect(try failure { $0["sub"] = " \n" } == .wrongClaim("sub", "is empty"))
        #expect(try failure { $0["scope"] = nil } == nil)
        #expect(try failure { $0["scope"] = ["a", "a "] } == .wrongClaim("scope", "names a scope twice"))
        #expect(try failure { $0["scope"] = ["a", ""] } == .wrongClaim("scope", "has a scope that is empty or no text"))
        #expect(try failure { $0["scope"] = "" } == .wrongClaim("scope", "has a scope that is empty or no text"))
        var rules = rules
        rules.subClaimName = "azp"
        rules.scopeClaimName = "scp"
        let token = try issuer.token(changing: {
            $0["azp"] = " payments "
            $0["scp"] = "all of it"
            $0["sub"] = nil
        })
        guard case .success(let access) = try outcome(token, rules) else {
            Issue.record("refused")
            return
        }
        #expect(access.principalName == "payments" && access.scopes == ["all of it"])
    }

    @Test("Damaged tokens")
    func damaged() throws {
        let good = try issuer.token()
        let parts = good.split(separator: ".").map(String.init)
        for text in ["", ".", "..", "...", parts[0], "\(parts[0]).\(parts[1])", good + ".", "." + good, good + ".x", good + "="] {
            guard case .failure(.malformed) = try outcome(text) else {
                Issue.record("'\(text)' is not damaged")
                continue
            }
        }
        #expect(try outcome("\(parts[0]).\(parts[1]).\(parts[2])*") == .failure(.malformed("the signature is no base64")))
        #expect(try outcome("\(parts[0]).\(parts[1]).\(parts[2])A") == .failure(.wrongSignature))
        let texts: [(String, String)] = [
            ("[]", "no object"), ("", "not three parts"), ("{\"sub\":\"a\",\"sub\":\"b\"}", "twice"), ("{\"sub\":\"alice\"", "not JSON"),
            (String(repeating: "[", count: 100_000), "nested too deeply"),
            (String(repeating: "{\"a\":", count: 17) + "1" + String(repeating: "}", count: 17), "nested too deeply"),
        ]
        for (text, reason) in texts {
            guard case .failure(.malformed(let found)) = try outcome(try issuer.token(text: text)) else {
                Issue.record("\(text.prefix(40)) is not damaged")
                continue
            }
            #expect(found.contains(reason))
        }
        for header: [(String, JSONValue)] in [[("crit", ["b64"]), ("b64", false)], [("kid", 7)], [("alg", "RS256")]] {
            guard case .failure(.malformed) = try outcome(try issuer.token(header: header, keyID: header[0].0 == "kid" ? .some(nil) : nil))
            else {
                Issue.record("\(header) is taken")
                continue
            }
        }
    }

    @Test("No change of a single character makes another good token")
    func mutations() throws {
        let good = Array(try issuer.token().utf8)
        let keys = try issuer.keySet
        var random = SeededRandom(seed: 11)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \u{0}".utf8)
        for round in 0..<3000 {
            var changed = good
            switch round % 3 {
            case 0: changed[Int.random(in: 0..<good.count, using: &random)] = alphabet.randomElement(using: &random)!
            case 1: changed.remove(at: Int.random(in: 0..<good.count, using: &random))
            default: changed.insert(alphabet.randomElement(using: &random)!, at: Int.random(in: 0...good.count, using: &random))
            }
            if changed == good { continue }
            let text = String(decoding: changed, as: UTF8.self)
            #expect(throws: TokenFailure.self, "\(text)") { try rules.validate(text, keys, now: TokenIssuer.now) }
        }
    }

    @Test("Claims of any content under a good signature never do more than be refused")
    func randomClaims() throws {
        var random = SeededRandom(seed: 12)
        let good = Array(JSONValue.object(TokenIssuer.goodClaims).description.utf8)
        let keys = try issuer.keySet
        var taken = 0
        for _ in 0..<600 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0x20...0x7e, using: &random)
            }
            let token = try issuer.token(text: String(decoding: bytes, as: UTF8.self))
            if let access = try? rules.validate(token, keys, now: TokenIssuer.now) {
                taken += 1
                #expect(!access.principalName.isEmpty && access.expirationMilliseconds > TokenIssuer.now - 30_000)
            }
        }
        #expect(taken < 600)
    }
}

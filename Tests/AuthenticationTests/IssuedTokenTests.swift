// Tokens of one's own: what an endpoint is asked with, what its answers mean, and when a token is replaced.
import Primitives
import Testing

@testable import Authentication

@Suite("Tokens of an endpoint")
struct IssuedTokenTests {
    private static let now: Int64 = 1_764_352_800_000

    private static func token(_ claims: JSONValue) -> String {
        "e30.\(TokenIssuer.encoded(claims.description.utf8)).c2ln"
    }

    private func read(_ body: JSONValue, status: Int = 200) throws(TokenEndpointFailure) -> IssuedToken {
        try IssuedToken(status: status, body: Array(body.description.utf8), now: Self.now)
    }

    private func failure(_ text: String, status: Int = 200) -> TokenEndpointFailure? {
        do throws(TokenEndpointFailure) {
            _ = try IssuedToken(status: status, body: Array(text.utf8), now: Self.now)
            return nil
        } catch {
            return error
        }
    }

    @Test("The request as Kafka's clients write it, with and without encoding")
    func request() throws {
        // RFC 6749 section 4.4.2 and 2.3.1; RFC 7617.
        let plain = try #require(ClientCredentialsGrant(clientID: " s6BhdRkqt3 ", clientSecret: "gX1fBat3bV"))
        #expect(plain.authorization == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW" && plain.body == "grant_type=client_credentials")
        let raw = try #require(ClientCredentialsGrant(clientID: "a b", clientSecret: "p:ß&", scope: "x y"))
        #expect(raw.authorization == "Basic " + Base64.encode("a b:p:ß&".utf8))
        #expect(raw.body == "grant_type=client_credentials&scope=x y")
        let encoded = try #require(
            ClientCredentialsGrant(clientID: "a b", clientSecret: "p:ß&\n~*", scope: "api://x/.default", isEncoded: true))
        #expect(encoded.authorization == "Basic " + Base64.encode("a+b:p%3A%C3%9F%26%0A%7E*".utf8))
        #expect(encoded.body == "grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default")
        #expect(ClientCredentialsGrant(clientID: "  ", clientSecret: "x") == nil)
        #expect(ClientCredentialsGrant(clientID: "x", clientSecret: "\t") == nil)
        #expect(ClientCredentialsGrant(clientID: "x", clientSecret: "y", scope: " ")?.scope == nil)
    }

    @Test("Secrets and tokens are not printed")
    func secrets() throws {
        let grant = try #require(ClientCredentialsGrant(clientID: "app", clientSecret: "s3cr&t", isEncoded: true))
        #expect("\(grant) \(String(reflecting: grant))" == "client app client app")
        let text = "s3cr&t, s3cr%26t and \(grant.authorization)"
        #expect(grant.hidingSecret(in: text) == "…, … and Basic …")
        let token = try read(["access_token": .string(Self.token(["exp": 1_764_353_400, "sub": "app"]))])
        #expect(!"\(token) \(String(reflecting: token))".contains("e30") && "\(token)".contains("app"))
    }

    @Test("Answers with a token")
    func answers() throws {
        let text = Self.token(["exp": 1_764_353_400.5, "iat": 1_764_352_000, "sub": "app"])
        let token = try read(["access_token": .string(" \(text)\n"), "expires_in": 5])
        #expect(
            token
                == IssuedToken(
                    text: text, expirationMilliseconds: 1_764_353_400_000, issuedAtMilliseconds: 1_764_352_000_000, principalName: "app"))
        #expect(try read(["access_token": " ", "id_token": .string(text)], status: 201).text == text)
        // A token that is none of JWS ends when the answer says.
        for seconds in [300, "300"] as [JSONValue] {
            let opaque = try read(["access_token": "abc", "expires_in": seconds])
            #expect(opaque == IssuedToken(text: "abc", expirationMilliseconds: Self.now + 300_000))
        }
    }

    @Test("Answers without one")
    func failures() {
        for text in [
            "", "[]", "null", "{\"access_token\":1,\"expires_in\":5}", "{\"access_token\":\"  \"}",
            "{\"access_token\":\"a b\",\"expires_in\":5}",
            "{\"access_token\":\"abc\"}", "{\"access_token\":\"abc\",\"expires_in\":0}", "{\"access_token\":\"abc\",\"expires_in\":1e300}",
            "{\"access_token\":\"\(Self.token(["exp": -1]))\"}", "{\"access_token\":\"\(Self.token(["exp": "soon"]))\"}",
        ] {
            let failure = failure(text)
            #expect(failure?.isRetriable == false && failure?.description.contains("abc") == false, "\(text)")
        }
        let refused = failure(#"{"error":"invalid_client","error_description":"no such\nclient"}"#, status: 401)
        #expect(refused?.description == "the answer is HTTP status 401: invalid_client, no such client" && refused?.isRetriable == false)
        let other = failure(#"{"errorCode":"E42","errorSummary":"nobody"}"#, status: 400)
        #expect(other?.description == "the answer is HTTP status 400: E42, nobody" && other?.isRetriable == false)
        let page = failure("<html>\(String(repeating: "x", count: 5000))", status: 503)
        #expect(page?.description == "the answer is HTTP status 503" && page?.isRetriable == true)
        let long = failure("{\"error\":\"\(String(repeating: "x", count: 5000))\"}", status: 429)
        #expect(long?.isRetriable == true && (long?.description.count ?? 0) < 300)
    }

    @Test("A damaged answer is refused or read, whatever is wrong with it")
    func mutations() {
        let text = Self.token(["exp": 1_764_353_400, "iat": 1_764_352_000, "sub": "app"])
        let good = Array("{\"access_token\":\"\(text)\",\"expires_in\":300,\"error\":\"no\"}".utf8)
        var random = SeededRandom(seed: 14)
        var (refused, read) = (0, 0)
        for _ in 0..<3000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Int.random(in: 0..<4, using: &random) == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            do throws(TokenEndpointFailure) {
                let token = try IssuedToken(status: Int.random(in: 0..<4, using: &random) > 0 ? 200 : 400, body: bytes, now: Self.now)
                #expect(!token.text.isEmpty && token.expirationMilliseconds >= 0)
                #expect(TokenRefresh().pauseMilliseconds(token, now: Self.now, random: 1) > 0)
                read += 1
            } catch {
                #expect(!error.description.contains(text.prefix(20)))
                refused += 1
            }
        }
        #expect(refused > 500 && read > 100, "\(refused), \(read)")
    }

    @Test("When a token is replaced: Kafka's window, buffer and shortest period")
    func refresh() {
        func pause(_ seconds: Int64, age: Int64 = 0, random: Double = 0, _ change: (inout TokenRefresh) -> Void = { _ in }) -> Int64 {
            var rule = TokenRefresh()
            change(&rule)
            let token = IssuedToken(
                text: "", expirationMilliseconds: Self.now + 1000 * seconds, issuedAtMilliseconds: Self.now - 1000 * age)
            return rule.pauseMilliseconds(token, now: Self.now, random: random)
        }
        // An hour: four fifths of it, and up to a twentieth more.
        #expect(pause(3600) == 2_880_000 && pause(3600, random: 1) == 3_060_000)
        // It counts from when the token was issued.
        #expect(pause(1800, age: 1800) == 1_080_000)
        // Half an hour: five minutes before the end, since four fifths and more would be later.
        #expect(pause(1200) == 900_000)
        // Not sooner than a minute from now.
        #expect(pause(500, age: 5000) == 60_000)
        // Shorter than buffer and shortest period together: four fifths of what is left.
        #expect(pause(359) == 287_200 && pause(10, age: 1000) == 8000)
        #expect(pause(1) == 1000, "never without a pause")
        // Ended by this clock.
        #expect(pause(-1) == 10_000)
        #expect(
            pause(10) {
                $0.bufferSeconds = 0; $0.minimumPeriodSeconds = 0; $0.windowFactor = 0.5
            } == 5000)
        let ageless = IssuedToken(text: "", expirationMilliseconds: Self.now + 3_600_000)
        #expect(TokenRefresh().pauseMilliseconds(ageless, now: Self.now, random: 0.5) == 2_970_000)
    }

    @Test("How long to wait after an endpoint gave none")
    func retry() {
        var rule = LoginRetry()
        #expect([1, 2, 3, 8, 100].map { rule.pauseMilliseconds(failures: $0) } == [100, 200, 400, 10_000, 10_000])
        #expect(rule.pauseMilliseconds(failures: 1, isRetriable: false) == 10_000)
        rule.backoffMilliseconds = 0
        rule.maximumBackoffMilliseconds = 0
        #expect(rule.pauseMilliseconds(failures: 5) == 10, "never without a pause")
    }
}

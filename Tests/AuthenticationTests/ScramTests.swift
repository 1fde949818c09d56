// SCRAM against the examples of its RFCs, and both sides against each other.
import Primitives
import Testing

@testable import Authentication

@Suite("SCRAM")
struct ScramTests {
    /// RFC 7677, section 3: user "user", password "pencil".
    @Test("The exchange of RFC 7677 comes out byte for byte")
    func rfc7677() throws {
        let salt = try #require(Base64.decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
        let salted = try #require(ScramMechanism.sha256.saltedPassword("pencil", salt: salt, iterations: 4096))
        let keys = ScramKeys(.sha256, saltedPassword: salted, salt: salt, iterations: 4096)
        var client = ScramClient(.sha256, user: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO")
        #expect(text(client.firstMessage) == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        var server = ScramServer(.sha256, nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        guard case .challenge(let first) = server.step(client.firstMessage, credential: { $0 == "user" ? keys : nil }) else {
            Issue.record("no challenge")
            return
        }
        #expect(text(first) == "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        guard case .respond(let final) = client.step(first) else {
            Issue.record("no answer")
            return
        }
        #expect(
            text(final) == "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        guard case .complete(let last, let user, _) = server.step(final, credential: { _ in nil }) else {
            Issue.record("not complete")
            return
        }
        #expect(user == "user")
        #expect(text(last) == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        #expect(client.step(last) == .complete)
    }

    @Test("Any user and password log in, with either mechanism; another password does not", arguments: ScramMechanism.allCases)
    func roundTrips(_ mechanism: ScramMechanism) throws {
        var random = SeededRandom(seed: 7)
        for name in ["a", "user,with=marks", "=,=2C", "Ünï cödé", "x:y"] {
            let password = name + "-secret"
            let salt = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
            let salted = try #require(mechanism.saltedPassword(password, salt: salt, iterations: 4096))
            let keys = ScramKeys(mechanism, saltedPassword: salted, salt: salt, iterations: 4096)
            #expect(try exchange(mechanism, name, password, keys, &random) == name)
            #expect(try exchange(mechanism, name, password + "?", keys, &random) == nil)
        }
    }

    private func exchange(
        _ mechanism: ScramMechanism, _ user: String, _ password: String, _ keys: ScramKeys, _ random: inout SeededRandom
    ) throws -> String? {
        var client = SaslClientExchange(
            SaslCredentials(mechanism: .scram(mechanism), user: user, password: password), nonce: SaslNonce.random(using: &random))
        var server = SaslServerExchange.scram(mechanism, nonce: SaslNonce.random(using: &random))
        var token = client.firstMessage
        for _ in 0..<4 {
            let step = server.step(
                token, password: { _ in nil }, keys: { name, _ in name == user ? keys : nil }, accessToken: { _ in .failure(.noKeySet) })
            switch step {
            case .challenge(let challenge):
                guard case .respond(let next) = client.step(challenge) else { return nil }
                token = next
            case .complete(let last, let name, _):
                #expect(client.step(last) == .complete)
                return name
            case .failed(let failure):
                #expect(failure == .invalidCredentials(user: user))
                return nil
            case .refused:
                Issue.record("SCRAM has no confirmation")
                return nil
            }
        }
        return nil
    }

    @Test("A delegation token's bearer is its owner, and only with tokenauth", arguments: ScramMechanism.allCases)
    func delegationToken(_ mechanism: ScramMechanism) throws {
        var random = SeededRandom(seed: 3)
        let secret = try #require(DelegationTokenSecret("master"))
        let keys = try #require(secret.keys(of: "the-id", mechanism, salt: [1, 2, 3]))
        let token = DelegationTokenLogin(keys: keys, owner: "alice", expiration: 5000)
        let password = Base64.encode(secret.code(of: "the-id"))
        func login(_ id: String, _ password: String, isToken: Bool) throws -> SaslServerStep? {
            var client = SaslClientExchange(
                SaslCredentials(mechanism: .scram(mechanism), user: id, password: password, isDelegationToken: isToken),
                nonce: SaslNonce.random(using: &random))
            var server = SaslServerExchange.scram(mechanism, nonce: SaslNonce.random(using: &random))
            func step(_ message: [UInt8]) -> SaslServerStep {
                server.step(
                    message, password: { _ in nil }, keys: { _, _ in nil }, delegationToken: { id, _ in id == "the-id" ? token : nil },
                    accessToken: { _ in .failure(.noKeySet) })
            }
            let first = step(client.firstMessage)
            guard case .challenge(let challenge) = first, case .respond(let next) = client.step(challenge) else { return first }
            let last = step(next)
            if case .complete(let signature, _, _) = last { #expect(client.step(signature) == .complete) }
            #expect(server.isTokenAuthenticated == isToken)
            return last
        }
        guard case .complete(_, let user, let expiration)? = try login("the-id", password, isToken: true) else {
            Issue.record("the token was not taken")
            return
        }
        #expect(user == "alice" && expiration == 5000)
        #expect(try login("the-id", password + "A", isToken: true) == .failed(.invalidCredentials(user: "the-id")))
        #expect(try login("another", password, isToken: true) == .failed(.invalidCredentials(user: "another")))
        #expect(try login("the-id", password, isToken: false) == .failed(.invalidCredentials(user: "the-id")))
    }

    @Test(
        "A malformed first message is refused",
        arguments: ["", "n", "n,,", "n,,n=,r=x", "n,,n=a", "p=tls-unique,,n=a,r=x", "n,,n=a=2X,r=x", "n,a=b=,n=a,r=x", "n,,r=x,n=a"])
    func malformed(_ message: String) {
        var server = ScramServer(.sha256, nonce: "n")
        #expect(server.step(Array(message.utf8)) { _ in nil } == .failed(.malformed))
    }

    @Test("A client may not act as somebody else, and weak credentials are not used")
    func refusals() throws {
        let salted = try #require(ScramMechanism.sha256.saltedPassword("p", salt: [1], iterations: 4096))
        let keys = ScramKeys(.sha256, saltedPassword: salted, salt: [1], iterations: 4096)
        var server = ScramServer(.sha256, nonce: "n")
        #expect(server.step(Array("n,a=other,n=me,r=x".utf8)) { _ in keys } == .failed(.otherAuthorizationID(user: "me")))
        var weak = keys
        weak.iterations = 1000
        server = ScramServer(.sha256, nonce: "n")
        #expect(server.step(Array("n,,n=me,r=x".utf8)) { _ in weak } == .failed(.invalidCredentials(user: "me")))
        server = ScramServer(.sha256, nonce: "n")
        #expect(server.step(Array("n,,n=me,r=x".utf8)) { _ in nil } == .failed(.invalidCredentials(user: "me")))
    }

    @Test("A server that does not know the password is found out")
    func impostor() throws {
        var client = ScramClient(.sha256, user: "u", password: "p", nonce: "abc")
        guard case .respond = client.step(Array("r=abcdef,s=AQ==,i=4096".utf8)) else {
            Issue.record("no answer")
            return
        }
        guard case .failed(let reason) = client.step(Array("v=AAAA".utf8)) else {
            Issue.record("an impostor was believed")
            return
        }
        #expect(reason.contains("does not know the password"))
        var hasty = ScramClient(.sha256, user: "u", password: "p", nonce: "abc")
        guard case .failed = hasty.step(Array("r=abcdef,s=AQ==,i=1".utf8)) else {
            Issue.record("one iteration was enough")
            return
        }
        var other = ScramClient(.sha256, user: "u", password: "p", nonce: "abc")
        guard case .failed = other.step(Array("r=xyz,s=AQ==,i=4096".utf8)) else {
            Issue.record("a foreign nonce was taken")
            return
        }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

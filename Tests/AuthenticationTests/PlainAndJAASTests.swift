// PLAIN's only message, JAAS values as they stand in Kafka's configurations, and files of users.
import Testing

@testable import Authentication

@Suite("PLAIN")
struct PlainTests {
    private func check(_ message: String) -> SaslServerStep {
        PlainMessage.check(Array(message.utf8)) { ["alice": "secret", "bob": "pa:ss=wörd"][$0] }
    }

    @Test("The right password logs in, with or without an authorization id")
    func right() {
        #expect(check("\u{0}alice\u{0}secret") == .complete([], user: "alice"))
        #expect(check("alice\u{0}alice\u{0}secret") == .complete([], user: "alice"))
        #expect(check("\u{0}bob\u{0}pa:ss=wörd") == .complete([], user: "bob"))
    }

    @Test("Everything else does not")
    func wrong() {
        #expect(check("\u{0}alice\u{0}Secret") == .failed(.invalidCredentials(user: "alice")))
        #expect(check("\u{0}alice\u{0}secret2") == .failed(.invalidCredentials(user: "alice")))
        #expect(check("\u{0}carol\u{0}secret") == .failed(.invalidCredentials(user: "carol")))
        #expect(check("\u{0}carol\u{0}??????") == .failed(.invalidCredentials(user: "carol")))
        #expect(check("bob\u{0}alice\u{0}secret") == .failed(.otherAuthorizationID(user: "alice")))
        #expect(check("\u{0}\u{0}secret") == .failed(.noUser))
        #expect(check("\u{0}alice\u{0}") == .failed(.noPassword))
        #expect(check("") == .failed(.malformed))
        #expect(check("\u{0}alice") == .failed(.malformed))
        #expect(check("\u{0}alice\u{0}secret\u{0}more") == .failed(.malformed))
    }
}

@Suite("JAAS")
struct JAASTests {
    @Test("An entry as the Kafka documentation has it")
    func plain() throws {
        let entry = try JAASConfiguration.parse(
            """
            org.apache.kafka.common.security.plain.PlainLoginModule required \
              username="admin" \
              password="admin-secret" \
              user_admin="admin-secret" user_alice='alice "quoted" secret';
            """)
        #expect(entry.loginModule == "org.apache.kafka.common.security.plain.PlainLoginModule")
        #expect(entry.option("username") == "admin")
        #expect(entry.plainUsers == ["admin": "admin-secret", "alice": "alice \"quoted\" secret"])
        #expect(!"\(entry)".contains("secret") && !String(reflecting: entry).contains("secret"))
    }

    @Test("Comments, escapes, words without quotes, any case of the flag")
    func details() throws {
        let entry = try JAASConfiguration.parse("a.b.C REQUIRED /* users */ x=y // rest\n k=\"a\\\"b\\\\c\\n\" z=\"1;2=3\" ;")
        #expect(entry.option("x") == "y")
        #expect(entry.option("k") == "a\"b\\c\n")
        #expect(entry.option("z") == "1;2=3")
    }

    @Test(
        "Mistakes are named, secrets are not",
        arguments: [
            ("", "names no login module"), ("a.b.C", "no control flag"), ("a.b.C maybe x=\"s3cret\";", "no control flag"),
            ("a.b.C required x;", "no value for the option x"), ("a.b.C required x=\"s3cret\"", "semicolon"),
            ("a.b.C required x=\"s3cret;", "not closed"), ("a required;b required;", "2 entries"),
            ("a required =\"s3cret\";", "without a key"),
        ])
    func mistakes(_ text: String, _ expected: String) {
        let error = #expect(throws: JAASError.self) { try JAASConfiguration.parse(text) }
        #expect(error?.description.contains(expected) == true)
        #expect(error?.description.contains("s3cret") == false)
    }

    @Test("Files of users")
    func passwordFile() throws {
        #expect(try PasswordFile.parse("# users\nalice:secret\n\n  bob=a:b=c\n") == ["alice": "secret", "bob": "a:b=c"])
        for (text, line) in [("alice", 1), ("a:b\n:x", 2), ("a:b\na:c", 2), ("a:", 1)] {
            let error = #expect(throws: PasswordFileError.self) { try PasswordFile.parse(text) }
            #expect(error?.description.hasPrefix("line \(line) ") == true)
        }
    }
}

@Suite("TLS settings")
struct TLSSettingsTests {
    private func read(_ values: [String: String]) throws -> TLSSettings { try TLSSettings { values[$0] } }

    @Test("The kind of a store is told, or told from the file's name")
    func kinds() throws {
        #expect(try read(["ssl.keystore.location": "a.p12"]).keyStore?.kind == .pkcs12)
        #expect(try read(["ssl.keystore.location": "a.pem"]).keyStore?.kind == .pem)
        #expect(try read(["ssl.keystore.location": "a", "ssl.keystore.type": "pkcs12"]).keyStore?.kind == .pkcs12)
        #expect(try read(["ssl.truststore.certificates": "x"]).trustStore?.kind == .pem)
        #expect(try read([:]) == TLSSettings())
        #expect(try read(["ssl.endpoint.identification.algorithm": ""]).verifiesHostName == false)
        #expect(try read(["ssl.enabled.protocols": "TLSv1.3"]).protocols == ["TLSv1.3"])
    }

    @Test(
        "What cannot be used is refused under its key",
        arguments: [
            (["ssl.keystore.location": "a.jks"], "ssl.keystore.type"),
            (["ssl.truststore.location": "a", "ssl.truststore.type": "JKS"], "ssl.truststore.type"),
            (["ssl.keystore.key": "x"], "ssl.keystore.certificate.chain"),
            (["ssl.keystore.key": "x", "ssl.keystore.certificate.chain": "y", "ssl.keystore.location": "z"], "ssl.keystore.location"),
            (["ssl.client.auth": "yes"], "ssl.client.auth"), (["ssl.enabled.protocols": "TLSv1.1"], "ssl.enabled.protocols"),
            (["ssl.endpoint.identification.algorithm": "ldap"], "ssl.endpoint.identification.algorithm"),
        ])
    func refusals(_ values: [String: String], _ key: String) {
        let error = #expect(throws: SecuritySettingError.self) { try read(values) }
        #expect(error?.key == key)
    }

    @Test("No secret shows when settings are printed")
    func printing() {
        let store = TLSStore(kind: .pem, location: "f", password: "s3cret", key: "s3cret", certificates: nil, keyPassword: "s3cret")
        #expect(!"\(TLSSettings(keyStore: store))".contains("s3cret"))
        #expect(!"\(SaslCredentials(mechanism: .plain, user: "u", password: "s3cret"))".contains("s3cret"))
    }
}

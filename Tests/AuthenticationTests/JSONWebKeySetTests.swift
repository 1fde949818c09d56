// Key sets as providers publish them, and the examples of the RFCs, which others have signed.
import Primitives
import Testing

@testable import Authentication

@Suite("Key sets")
struct JSONWebKeySetTests {
    private static let modulus =
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"
        + "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"
        + "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    private static let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

    /// Key, algorithm, signing input, signature.
    private static let examples: [(String, SignatureAlgorithm, String, String)] = [
        // RFC 7515 appendix A.2
        (
            #"{"kty":"RSA","n":"\#(modulus)","e":"AQAB"}"#, .rs256, "eyJhbGciOiJSUzI1NiJ9.\(payload)",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYN"
                + "X4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOP"
                + "qvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
        // RFC 7515 appendix A.3
        (
            #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            .es256, "eyJhbGciOiJFUzI1NiJ9.\(payload)",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        ),
        // RFC 7515 appendix A.4
        (
            #"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","#
                + #""y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#,
            .es512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEH"
                + "wJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
        ),
        // RFC 8037 appendix A.4
        (
            #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#, .edDSA,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        ),
    ]

    private func keySet(_ keys: String...) throws -> JSONWebKeySet {
        try JSONWebKeySet(parsing: Array(#"{"keys":[\#(keys.joined(separator: ","))]}"#.utf8))
    }

    @Test("The examples of RFC 7515 and RFC 8037", arguments: 0..<4)
    func examples(_ index: Int) throws {
        let (key, algorithm, input, text) = Self.examples[index]
        let signature = try #require(Base64.decodeForAddresses(text.utf8))
        let found = try keySet(key).candidates(id: nil, algorithm)
        #expect(found.count == 1)
        #expect(found[0].verifies(signature, of: Array(input.utf8), algorithm))
        #expect(!found[0].verifies(signature, of: Array((input + "x").utf8), algorithm))
        for other in SignatureAlgorithm.allCases where other != algorithm {
            #expect(!found[0].verifies(signature, of: Array(input.utf8), other))
        }
        for position in signature.indices {
            var damaged = signature
            damaged[position] ^= 1 << UInt8(position % 8)
            #expect(!found[0].verifies(damaged, of: Array(input.utf8), algorithm))
        }
        #expect(!found[0].verifies([], of: Array(input.utf8), algorithm))
        #expect(!found[0].verifies(signature + [0], of: Array(input.utf8), algorithm))
        // Shape and signature of the example are right, so that its claims are looked at; Kafka demands one that is not among them.
        let validator = TokenValidator(expectedAudience: [], expectedIssuer: nil)
        if index < 2 {
            #expect(throws: TokenFailure.missingClaim("iat")) {
                try validator.validate("\(input).\(text)", try keySet(key), now: TokenIssuer.now)
            }
        }
    }

    @Test("Keys are chosen by id, kind, algorithm and use")
    func choice() throws {
        let issuer = TokenIssuer.shared
        let set = try issuer.keySet
        #expect(set.count == 5 && set.skipped.isEmpty)
        #expect(set.candidates(id: "rsa", .rs512).count == 1 && set.candidates(id: nil, .ps384).count == 1)
        #expect(set.candidates(id: "p256", .rs256).isEmpty && set.candidates(id: "x", .es256).isEmpty)
        let (ec, _, _, _) = Self.examples[1]
        let named = ec.dropLast() + #","kid":"k","alg":"ES256"}"#
        #expect(try keySet(String(named)).candidates(id: "k", .es256).count == 1)
        let many = try keySet(Array(repeating: String(named), count: 20).joined(separator: ","))
        #expect(many.candidates(id: nil, .es256).count == JSONWebKeySet.maximumAttempts)
        // RFC 7517 appendix A.1 has a key for encryption beside one without a use; others are of kinds that are no public keys.
        let mixed = try keySet(
            ec.dropLast() + #","use":"enc","kid":"1"}"#, #"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T","kid":"2"}"#,
            String(named), ec.dropLast() + #","key_ops":["sign"]}"#, ec.dropLast() + #","alg":"HS256"}"#,
            ec.dropLast() + #","alg":"RS256"}"#,
            ec.replacing("f83O", with: "f83P"), "7", #"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#,
            #"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPd","e":"AQAB"}"#)
        #expect(mixed.count == 1 && mixed.skipped.count == 9)
        #expect(mixed.skipped[0] == "'1' is not for signatures")
    }

    @Test(
        "What is no key set",
        arguments: [
            ("", "not JSON"), ("[]", "no list"), ("{}", "no list"), (#"{"keys":{}}"#, "no list"), (#"{"keys":[]}"#, "no key to check"),
            (#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, "no key to check"), (#"{"keys":[{"kty":"EC","crv":"P-256"}]}"#, "P-256"),
            (#"{"keys":[{"kty":"RSA","n":"","e":""}]}"#, "2048"), (#"{"keys":"# + String(repeating: "[", count: 40), "nested too deeply"),
            (#"{"keys":["# + Array(repeating: "1", count: 300).joined(separator: ",") + "]}", "more than 256"),
            (String(repeating: " ", count: (1 << 20) + 1), "larger"),
        ])
    func mistakes(_ text: String, _ expected: String) {
        let error = #expect(throws: JSONWebKeySetError.self) { try JSONWebKeySet(parsing: Array(text.utf8)) }
        #expect(error?.description.contains(expected) == true, "\(error.map(\.description) ?? "")")
        #expect(error?.description.contains("c2VjcmV0") == false)
    }

    @Test("A damaged key set is refused or read, whatever is wrong with it")
    func mutations() throws {
        let good = Array(TokenIssuer.shared.keySetText.utf8)
        var random = SeededRandom(seed: 13)
        var refused = 0
        for _ in 0..<1500 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            do throws(JSONWebKeySetError) {
                #expect(try JSONWebKeySet(parsing: bytes).count > 0)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 0)
    }

    @Test("Base64 for addresses")
    func base64() {
        #expect(Base64.decodeForAddresses("".utf8) == [])
        #expect(Base64.decodeForAddresses("A-z_".utf8) == [0x03, 0xec, 0xff])
        #expect(Base64.decodeForAddresses("AA".utf8) == [0] && Base64.decodeForAddresses("AAA".utf8) == [0, 0])
        for text in ["A", "AB", "AAB", "AAAAA", "AA==", "A+AA", "A/AA", "AA A", "AAA\n"] {
            #expect(Base64.decodeForAddresses(text.utf8) == nil)
        }
    }

    @Test("Addresses")
    func addresses() throws {
        #expect(try KeySetAddress(parsing: "file:///etc/keys%20of/jwks.json") == .file("/etc/keys of/jwks.json"))
        #expect(try KeySetAddress(parsing: "file:/etc/jwks.json") == .file("/etc/jwks.json"))
        #expect(
            try KeySetAddress(parsing: "https://idp.example/realms/x/certs?a=b#c")
                == .web(WebAddress(isSecured: true, host: "idp.example", port: 443, target: "/realms/x/certs?a=b")))
        #expect(
            try KeySetAddress(parsing: "HTTP://[::1]:8080") == .web(WebAddress(isSecured: false, host: "::1", port: 8080, target: "/")))
        #expect(try KeySetAddress(parsing: "http://h?x").description == "http://h/?x")
        #expect(WebAddress(isSecured: true, host: "::1", port: 8443, target: "/").authority == "[::1]:8443")
        for text in [
            "", "jwks.json", "ftp://x/y", "file://server/x", "file://", "file:///a%2", "file:///a%00", "http:/x", "http://",
            "http://a:b@c/",
            "http://a:0/", "http://a:70000/", "http://a:x/", "http://[::1/", "http://[::1]x/", "http://a/b c", "http://ä/",
        ] {
            #expect(throws: AddressError.self, "\(text)") { try KeySetAddress(parsing: text) }
        }
    }
}

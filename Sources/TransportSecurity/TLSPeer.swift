// Who is at the other end of a TLS connection, and, when there is no connection, why: in words that say what to do.
import FoundationEssentials
import Glibc
import NIOCore
import NIOSSL
import SwiftASN1
import X509

/// The other side of TLS connections.
public enum TLSPeer {
    /// The subject of the certificate that the peer showed, as RFC 2253 writes it; nil when it showed none.
    public static func distinguishedName(in channel: any Channel) -> String? {
        guard let certificate = certificate(in: channel) else { return nil }
        return certificate.subject.description
    }

    private static func certificate(in channel: any Channel) -> Certificate? {
        let operations = channel.pipeline.syncOperations
        let shown =
            (try? operations.handler(type: NIOSSLServerHandler.self))?.peerCertificate
            ?? (try? operations.handler(type: NIOSSLClientHandler.self))?.peerCertificate
        guard let bytes = try? shown?.toDERBytes() else { return nil }
        return try? Certificate(derEncoded: bytes)
    }

    /// The library's own names of what went wrong, such as `CERTIFICATE_VERIFY_FAILED`; nil for errors that are none of TLS.
    public static func codes(in error: any Error) -> String? {
        guard error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError else { return nil }
        let words = "\(error)".split { !$0.isUppercase && !$0.isNumber && $0 != "_" }.filter {
            $0.count > 6 && $0.contains("_") && !$0.hasPrefix("OPENSSL_")
        }
        return words.isEmpty ? nil : words.map { String($0) }.joined(separator: " ")
    }

    /// Why a connection failed; nil when there is nothing to be said, such as for a peer that left without goodbye.
    ///
    /// - Parameter channel: the connection, for a look at the certificate that the peer showed.
    public static func explain(_ error: any Error, isServer: Bool, in channel: (any Channel)? = nil) -> String? {
        if case .uncleanShutdown? = error as? NIOSSLError { return nil }
        if let error = error as? NIOSSLExtraError {
            if error == .failedToValidateHostname {
                return "the server's certificate is for other names than the one connected to"
                    + (channel.flatMap(certificate).map { " (\(names(of: $0)))" } ?? "")
                    + "; connect to a name it has, or have it issued for this one"
            }
            return "\(error)"
        }
        guard let codes = codes(in: error) ?? ((error is NIOSSLError) ? "\(error)" : nil) else { return nil }
        for (code, explanation) in isServer ? server : client where codes.contains(code) {
            if code == "CERTIFICATE_VERIFY_FAILED", let certificate = channel.flatMap(certificate) {
                return "\(explanation) because \(problem(of: certificate))"
            }
            return explanation
        }
        return "the TLS handshake failed: \(codes)"
    }

    private static let server: [(code: String, explanation: String)] = [
        ("HTTP_REQUEST", "a plaintext HTTP client connected to a TLS listener: use https, or another port"),
        (
            "WRONG_VERSION_NUMBER",
            "a client that does not speak TLS connected to a TLS listener: set security.protocol=SSL or SASL_SSL in the client"
        ),
        ("CERTIFICATE_VERIFY_FAILED", "a client's certificate was refused"),
        (
            "PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "a client showed no certificate, and ssl.client.auth=required demands one: set ssl.keystore.location in the client"
        ),
        ("UNKNOWN_CA", "a client does not trust this server's certificate: give it the certificate authority (ssl.truststore.location)"),
        ("ALERT_CERTIFICATE_EXPIRED", "a client refused this server's certificate because it has expired"),
        (
            "ALERT_CERTIFICATE_UNKNOWN",
            "a client does not accept this server's certificate: it must trust its authority and find the server's name in it"
        ),
        ("ALERT_BAD_CERTIFICATE", "a client refused this server's certificate; the name that it connects to is probably not in it"),
        ("UNSUPPORTED_PROTOCOL", "a client speaks none of the versions of TLS in ssl.enabled.protocols"),
        ("NO_SHARED_CIPHER", "a client has no cipher suite in common with ssl.cipher.suites"),
    ]

    private static let client: [(code: String, explanation: String)] = [
        ("WRONG_VERSION_NUMBER", "the server does not speak TLS at this port: it is probably a PLAINTEXT or SASL_PLAINTEXT listener"),
        ("CERTIFICATE_VERIFY_FAILED", "the server's certificate is not to be trusted"),
        ("UNKNOWN_CA", "the server does not trust this side's certificate"),
        ("CERTIFICATE_REQUIRED", "the server demands a certificate: set ssl.keystore.location"),
        ("ALERT_HANDSHAKE_FAILURE", "the server refused the handshake; it may demand a certificate (ssl.keystore.location)"),
        ("ALERT_CERTIFICATE_EXPIRED", "the server refused this side's certificate because it has expired"),
        ("ALERT_CERTIFICATE_UNKNOWN", "the server refused this side's certificate"),
        ("ALERT_BAD_CERTIFICATE", "the server refused this side's certificate"),
        ("ALERT_PROTOCOL_VERSION", "the server speaks none of the versions of TLS in ssl.enabled.protocols"),
        ("UNSUPPORTED_PROTOCOL", "the server speaks none of the versions of TLS in ssl.enabled.protocols"),
        ("EOF during handshake", "the server closed the connection during the TLS handshake; is there a TLS listener at this port?"),
    ]

    /// What is wrong with a certificate that was not accepted, as far as it shows by itself; whose it is stands behind the colon.
    private static func problem(of certificate: Certificate) -> String {
        let now = Int64(time(nil))
        let from = Int64(certificate.notValidBefore.timeIntervalSince1970)
        let until = Int64(certificate.notValidAfter.timeIntervalSince1970)
        let subject = certificate.subject.description
        if now > until { return "it has expired: \(subject)" }
        if now < from { return "it is not valid yet (are the clocks right?): \(subject)" }
        let issuer = certificate.issuer == certificate.subject ? "itself" : certificate.issuer.description
        return "nobody in the trust store (ssl.truststore.location) signed it: \(subject), signed by \(issuer)"
    }

    private static func names(of certificate: Certificate) -> String {
        let alternatives = try? certificate.extensions.subjectAlternativeNames
        let names = alternatives?.compactMap { name -> String? in
            switch name {
            case .dnsName(let name): name
            case .ipAddress(let address): address.bytes.map { String($0) }.joined(separator: address.bytes.count == 4 ? "." : ":")
            default: nil
            }
        }
        return names?.joined(separator: ", ") ?? certificate.subject.description
    }
}

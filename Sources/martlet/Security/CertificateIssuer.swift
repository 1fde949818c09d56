// A certificate authority of one's own: its key and certificate, and what it signs.
import Crypto
import FoundationEssentials
import NIOCore
import SwiftASN1
import X509

/// A certificate authority.
struct Issuer {
    let key: P256.Signing.PrivateKey
    let certificate: Certificate

    /// Makes a new one.
    init(name: String, days: Int) throws {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        self.key = key
        certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: Self.begin, notValidAfter: Self.end(days), issuer: subject, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
            },
            issuerPrivateKey: .init(key))
    }

    /// Takes up one that was made before.
    init(certificate: String, key: String) throws {
        do {
            self.key = try P256.Signing.PrivateKey(pemRepresentation: key)
            self.certificate = try Certificate(pemEncoded: certificate)
        } catch {
            throw CommandFailure("the certificate authority cannot be read: \(error)")
        }
    }

    /// An hour ago, because clocks differ.
    private static var begin: Date { Date(timeIntervalSince1970: Date().timeIntervalSince1970 - 3600) }

    private static func end(_ days: Int) -> Date {
        // Of no days: over since half an hour, for trying out what happens then.
        Date(timeIntervalSince1970: Date().timeIntervalSince1970 + (days > 0 ? Double(days) * 86_400 : -1800))
    }

    /// Makes a key and signs its certificate.
    ///
    /// - Parameters:
    ///   - subject: `OU=Brokers,O=Example`, behind the common name; the most specific part first.
    ///   - hosts: names and addresses; none for a client.
    func issue(
        _ name: String, subject: String?, hosts: [String], days: Int
    ) throws -> (key: P256.Signing.PrivateKey, certificate: Certificate) {
        let key = P256.Signing.PrivateKey()
        let names = try hosts.map(Self.generalName)
        let usages: [ExtendedKeyUsage.Usage] = hosts.isEmpty ? [.clientAuth] : [.serverAuth, .clientAuth]
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: Self.begin, notValidAfter: Self.end(days), issuer: self.certificate.subject,
            subject: try Self.distinguishedName(name, subject), signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage(usages)
                if !names.isEmpty { SubjectAlternativeNames(names) }
                AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: Certificate.PublicKey(self.key.publicKey)).keyIdentifier)
            },
            issuerPrivateKey: .init(self.key))
        return (key, certificate)
    }

    private static func generalName(_ host: String) throws -> GeneralName {
        guard let address = try? SocketAddress(ipAddress: host, port: 0) else { return .dnsName(host) }
        switch address {
        case .v4(let address):
            return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: address.address.sin_addr) { [UInt8]($0)[...] }))
        case .v6(let address):
            return .ipAddress(ASN1OctetString(contentBytes: withUnsafeBytes(of: address.address.sin6_addr) { [UInt8]($0)[...] }))
        case .unixDomainSocket: throw CommandFailure("'\(host)' is no name of a host")
        }
    }

    /// The parts of a name are written from the specific to the general, and encoded the other way round.
    private static func distinguishedName(_ name: String, _ subject: String?) throws -> DistinguishedName {
        var attributes: [RelativeDistinguishedName.Attribute] = []
        for part in (subject ?? "").split(separator: ",").reversed() {
            let pair = part.split(separator: "=", maxSplits: 1).map { String($0.drop { $0 == " " }) }
            guard pair.count == 2 else { throw CommandFailure("'\(part)' in --subject is not of the form OU=Brokers") }
            let type: ASN1ObjectIdentifier
            switch pair[0].uppercased() {
            case "OU": type = .RDNAttributeType.organizationalUnitName
            case "O": type = .RDNAttributeType.organizationName
            case "L": type = .RDNAttributeType.localityName
            case "ST": type = .RDNAttributeType.stateOrProvinceName
            case "C": type = .RDNAttributeType.countryName
            default: throw CommandFailure("--subject takes OU, O, L, ST and C, not \(pair[0])")
            }
            attributes.append(
                pair[0].uppercased() == "C"
                    ? try .init(type: type, printableString: pair[1]) : .init(type: type, utf8String: pair[1]))
        }
        attributes.append(.init(type: .RDNAttributeType.commonName, utf8String: name))
        return DistinguishedName(attributes.map { RelativeDistinguishedName([$0]) })
    }
}

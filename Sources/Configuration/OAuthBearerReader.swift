// OAUTHBEARER out of the merged settings. What Kafka would do without any of them - take tokens that nobody signed, or of any issuer and
// for anybody - has to be asked for by name here, or is not there at all.
import Authentication
import ConfigDefinitions

extension ConfigurationReader {
    /// Reads `sasl.oauthbearer.*` for a listener; mistakes are added.
    mutating func readOAuthBearer(_ listener: String) -> OAuthBearerSettings? {
        let entry = readJAAS(listener, .oauthBearer)
        let unsecured = entry?.options.map(\.key).filter { $0.hasPrefix("unsecuredValidator") } ?? []
        if !unsecured.isEmpty {
            error(
                "listener.name.\(listener.lowercased()).oauthbearer.sasl.jaas.config",
                "has \(unsecured.joined(separator: ", ")), but tokens without a signature are not taken here")
        }
        guard let address = readKeySetAddress(listener) else { return nil }
        var audience = oauthValue(listener, "expected.audience").1?.list ?? []
        audience.removeAll { $0.isEmpty }
        let issuer = oauthText(listener, "expected.issuer")
        requireOrigin(listener, "expected.audience", isGiven: !audience.isEmpty, "allow.unverified.audience", "who a token is for")
        requireOrigin(listener, "expected.issuer", isGiven: issuer != nil, "allow.unverified.issuer", "who issued a token")
        return OAuthBearerSettings(
            keySet: address, tls: readKeySetTLS(listener, entry),
            validator: TokenValidator(
                expectedAudience: audience, expectedIssuer: issuer,
                clockSkewSeconds: oauthValue(listener, "clock.skew.seconds").1?.integer ?? 30,
                scopeClaimName: claimName(listener, "scope"), subClaimName: claimName(listener, "sub")),
            refreshMilliseconds: milliseconds(listener, "jwks.endpoint.refresh.ms", atLeast: 1),
            retryBackoffMilliseconds: milliseconds(listener, "jwks.endpoint.retry.backoff.ms", atLeast: 0),
            maximumRetryBackoffMilliseconds: readMaximumBackoff(listener))
    }

    /// Where the token is that this node logs in with at that listener of others.
    mutating func readTokenOrigin(_ listener: String) -> TokenOrigin? {
        let entry = readJAAS(listener, .oauthBearer)
        // Only asked for where it is needed: a password's file that cannot be read is a mistake then.
        let needsSecret = entry?.option("clientSecret") == nil && oauthText(listener, "client.credentials.client.secret") == nil
        let isFile = oauthText(listener, "token.endpoint.url")?.lowercased().hasPrefix("file:") ?? true
        let secret = needsSecret && !isFile ? readClientPassword() : nil
        do throws(SecuritySettingError) {
            return try TokenOrigin(entry, standIn: (string("martlet.sasl.client.username"), secret)) { key in
                let key = keyInForce(listener, key, .oauthBearer)
                return isSet(key) ? value(key)?.text : nil
            }
        } catch {
            self.error(
                keyInForce(listener, error.key, .oauthBearer),
                "\(error.reason): this node logs in with it at listener \(listener) of others")
            return nil
        }
    }

    private mutating func readKeySetAddress(_ listener: String) -> KeySetAddress? {
        let key = oauthValue(listener, "jwks.endpoint.url").0
        guard let text = oauthText(listener, "jwks.endpoint.url") else {
            error(
                key,
                "must be set: listener \(listener) offers OAUTHBEARER, and without the issuer's keys (JWKS) it could only take tokens that "
                    + "anybody can write")
            return nil
        }
        do throws(AddressError) {
            return try KeySetAddress(parsing: text)
        } catch {
            self.error(key, "\(error)")
            return nil
        }
    }

    /// What tells this cluster's tokens from those that the same provider makes for others.
    private mutating func requireOrigin(_ listener: String, _ name: String, isGiven: Bool, _ exception: String, _ what: String) {
        guard !isGiven else { return }
        if oauthValue(listener, exception).1?.boolean == true {
            warn(oauthValue(listener, exception).0, "is true: listener \(listener) does not look at \(what)")
        } else {
            error(
                oauthValue(listener, name).0,
                "must be set so that listener \(listener) looks at \(what), or sasl.oauthbearer.\(exception) be true")
        }
    }

    /// `ssl.*` of the JAAS entry, where Kafka has what https needs.
    private mutating func readKeySetTLS(_ listener: String, _ entry: JAASEntry?) -> TLSSettings {
        do throws(SecuritySettingError) {
            return try TLSSettings { entry?.option($0) }
        } catch {
            self.error("listener.name.\(listener.lowercased()).oauthbearer.sasl.jaas.config", "\(error)")
            return TLSSettings()
        }
    }

    private mutating func claimName(_ listener: String, _ claim: String) -> String {
        let name = oauthText(listener, "\(claim).claim.name")
        require(name != nil, oauthValue(listener, "\(claim).claim.name").0, "must name a claim")
        return name ?? claim
    }

    private mutating func milliseconds(_ listener: String, _ name: String, atLeast minimum: Int64) -> Int64 {
        let (key, value) = oauthValue(listener, name)
        let number = value?.integer ?? minimum
        require(number >= minimum, key, "must be at least \(minimum)")
        return max(minimum, number)
    }

    private mutating func readMaximumBackoff(_ listener: String) -> Int64 {
        let name = "jwks.endpoint.retry.backoff.max.ms"
        let maximum = milliseconds(listener, name, atLeast: 0)
        let backoff = oauthValue(listener, "jwks.endpoint.retry.backoff.ms")
        require(maximum >= backoff.1?.integer ?? 0, oauthValue(listener, name).0, "must not be less than \(backoff.0)")
        return maximum
    }

    /// The key in force and its value.
    private func oauthValue(_ listener: String, _ name: String) -> (String, ConfigValue?) {
        let base = "sasl.oauthbearer.\(name)"
        let key = keyInForce(listener, base, .oauthBearer)
        return (key, value(key))
    }

    /// Text without white space around it; nil when there is none.
    private func oauthText(_ listener: String, _ name: String) -> String? {
        guard let text = oauthValue(listener, name).1?.string?.trimmedOfControls, !text.isEmpty else { return nil }
        return text
    }
}

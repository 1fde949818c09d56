// Both sides of a SCRAM exchange as values: a message in, a message out. Nonces come from outside, so that a test can know them.

/// The server's side. A credential is looked up by whoever drives the exchange, once the user's name is known.
struct ScramServer: Sendable {
    private enum State: Sendable {
        case expectsFirst
        case expectsFinal(ScramClientFirst, ScramServerFirst, DelegationTokenLogin)
        case done
    }

    let mechanism: ScramMechanism
    private let nonce: String
    private var state = State.expectsFirst
    /// Whether the client logs in with a delegation token.
    private(set) var isTokenAuthenticated = false

    init(_ mechanism: ScramMechanism, nonce: String) {
        self.mechanism = mechanism
        self.nonce = nonce
    }

    /// Takes the client's next message.
    ///
    /// - Parameters:
    ///   - credential: of the user named, nil when there is none.
    ///   - delegationToken: of that id, nil when there is none that is good.
    mutating func step(
        _ token: [UInt8], credential: (String) -> ScramKeys?, delegationToken: (String) -> DelegationTokenLogin? = { _ in nil }
    ) -> SaslServerStep {
        switch state {
        case .expectsFirst:
            guard let first = try? ScramClientFirst(token) else { return fail(.malformed) }
            return begin(first, credential: credential, delegationToken: delegationToken)
        case .expectsFinal(let first, let answer, let login):
            guard let final = try? ScramClientFinal(token) else { return fail(.malformed) }
            return finish(first, answer, final, login)
        case .done:
            return fail(.malformed)
        }
    }

    private mutating func begin(
        _ first: ScramClientFirst, credential: (String) -> ScramKeys?, delegationToken: (String) -> DelegationTokenLogin?
    ) -> SaslServerStep {
        // With `tokenauth=true` the name is a delegation token's id (KIP-48).
        isTokenAuthenticated = first.isTokenAuthenticated
        let found =
            first.isTokenAuthenticated
            ? delegationToken(first.user)
            : credential(first.user).map { DelegationTokenLogin(keys: $0, owner: first.user, expiration: .max) }
        guard let login = found else { return fail(.invalidCredentials(user: first.user)) }
        let keys = login.keys
        guard first.authorizationID.isEmpty || first.authorizationID == first.user else {
            return fail(.otherAuthorizationID(user: first.user))
        }
        guard keys.iterations >= ScramMechanism.minimumIterations else { return fail(.invalidCredentials(user: first.user)) }
        let answer = ScramServerFirst(nonce: first.nonce + nonce, salt: keys.salt, iterations: keys.iterations)
        state = .expectsFinal(first, answer, login)
        return .challenge(Array(answer.text.utf8))
    }

    private mutating func finish(
        _ first: ScramClientFirst, _ answer: ScramServerFirst, _ final: ScramClientFinal, _ login: DelegationTokenLogin
    ) -> SaslServerStep {
        let keys = login.keys
        // Kafka's own client repeats "n,," whatever it began with.
        guard final.nonce == answer.nonce, final.binding == Array(first.header.utf8) || final.binding == Array("n,,".utf8),
            final.proof.count == mechanism.keyLength
        else { return fail(.invalidCredentials(user: first.user)) }
        let message = Array("\(first.bare),\(answer.text),\(final.withoutProof)".utf8)
        let clientKey = exclusiveOr(final.proof, mechanism.authenticationCode(message, key: keys.storedKey))
        guard isEqualInConstantTime(mechanism.hash(clientKey), keys.storedKey) else {
            return fail(.invalidCredentials(user: first.user))
        }
        state = .done
        return .complete(
            Array("v=\(encoded(mechanism.authenticationCode(message, key: keys.serverKey)))".utf8), user: login.owner,
            expiration: isTokenAuthenticated ? login.expiration : nil)
    }

    private mutating func fail(_ failure: SaslFailure) -> SaslServerStep {
        state = .done
        return .failed(failure)
    }
}

/// The client's side.
struct ScramClient: Sendable {
    private enum State: Sendable {
        case expectsFirst(ScramClientFirst)
        case expectsFinal(signature: [UInt8])
        case done
    }

    private let mechanism: ScramMechanism
    private let password: String
    private var state: State
    let firstMessage: [UInt8]

    /// - Parameter isToken: whether user and password are a delegation token's id and code.
    init(_ mechanism: ScramMechanism, user: String, password: String, isToken: Bool = false, nonce: String) {
        self.mechanism = mechanism
        self.password = password
        let first = ScramClientFirst(user: user, isToken: isToken, nonce: nonce)
        firstMessage = Array(first.text.utf8)
        state = .expectsFirst(first)
    }

    mutating func step(_ challenge: [UInt8]) -> SaslClientStep {
        switch state {
        case .expectsFirst(let first):
            guard let answer = try? ScramServerFirst(challenge), answer.nonce.hasPrefix(first.nonce), answer.nonce != first.nonce else {
                return fail("the server's first SCRAM message cannot be read")
            }
            // What an impostor asks for must neither be cheap to guess from nor keep this side busy.
            guard (ScramMechanism.minimumIterations...1_000_000).contains(answer.iterations) else {
                return fail("the server asks for \(answer.iterations) iterations, at least \(ScramMechanism.minimumIterations) are wanted")
            }
            guard let salted = mechanism.saltedPassword(password, salt: answer.salt, iterations: answer.iterations) else {
                return fail("the password is empty")
            }
            var final = ScramClientFinal(nonce: answer.nonce)
            let message = Array("\(first.bare),\(answer.text),\(final.withoutProof)".utf8)
            let clientKey = mechanism.clientKey(salted)
            final.proof = exclusiveOr(clientKey, mechanism.authenticationCode(message, key: mechanism.hash(clientKey)))
            state = .expectsFinal(signature: mechanism.authenticationCode(message, key: mechanism.serverKey(salted)))
            return .respond(Array(final.text.utf8))
        case .expectsFinal(let signature):
            switch try? ScramServerFinal(challenge) {
            case .signature(let given) where isEqualInConstantTime(given, signature):
                state = .done
                return .complete
            case .signature: return fail("the server does not know the password: it is not the one it claims to be")
            case .error(let error): return fail("the server says \(error)")
            case nil: return fail("the server's last SCRAM message cannot be read")
            }
        case .done: return fail("a message after the end of the exchange")
        }
    }

    private mutating func fail(_ reason: String) -> SaslClientStep {
        state = .done
        return .failed(reason)
    }
}

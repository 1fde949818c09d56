// How a mirror's fetcher puts its question: as a Fetch, or within a request of Martlet's own that has the answer compressed on its way. What comes
// back is the answer to a Fetch either way.
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Network
import RecordBatches

extension MirrorFetcher {
    /// Answers up to this size are decompressed on the event loop.
    private static let smallAnswerBytes = 65_536

    func ask(_ message: FetchRequest, _ completion: @escaping PeerConnections.Completion) {
        guard settings.compresses, !isCompressionRefused, !topicNames.areNeeded else { return askPlainly(message, completion) }
        connections.send(
            to: address, api: ApiKey.compressedFetch.rawValue, timeoutMilliseconds: Self.timeoutMilliseconds, on: eventLoop,
            encode: { _ in
                var request = CompressedFetchRequest()
                request.compressionType = Int8(CompressionType.zstd.rawValue)
                request.fetchVersion = Self.versions.upperBound
                guard let fetch = try? message.encoded(version: request.fetchVersion) else { return nil }
                request.fetch = fetch
                return (try? request.encoded(version: 0)).map { PeerRequest(version: 0, body: $0) }
            },
            completion: { [self] result in
                switch result {
                case .success(let answer): unwrap(answer, message, completion)
                case .failure(.unsupportedVersion):
                    refused("the source's broker does not compress: it is not Martlet's", message, completion)
                case .failure(let failure): completion(.failure(failure))
                }
            })
    }

    private func askPlainly(_ message: FetchRequest, _ completion: @escaping PeerConnections.Completion) {
        connections.send(
            to: address, api: ApiKey.fetch.rawValue, timeoutMilliseconds: Self.timeoutMilliseconds, on: eventLoop,
            encode: { [self] offered in
                let highest = topicNames.areNeeded ? Self.firstVersionWithTopicIDs - 1 : Self.versions.upperBound
                let usable = Self.versions.lowerBound...highest
                guard offered.overlaps(usable) else { return nil }
                let version = offered.clamped(to: usable).upperBound
                let fitting = version < Self.firstVersionWithTopicIDs ? topicNames.naming(message, version: version) : message
                return (try? fitting.encoded(version: version)).map { PeerRequest(version: version, body: $0) }
            },
            completion: { [board] result in
                if case .success(let answer) = result {
                    board.traffic.answers.add(before: answer.body.readableBytes, after: answer.body.readableBytes)
                }
                completion(result)
            })
    }

    /// The broker does not compress: from now on it is asked as any other.
    private func refused(_ reason: String, _ message: FetchRequest, _ completion: @escaping PeerConnections.Completion) {
        isCompressionRefused = true
        board.traffic.problem = reason
        askPlainly(message, completion)
    }

    private func unwrap(_ answer: PeerResponse, _ message: FetchRequest, _ completion: @escaping PeerConnections.Completion) {
        let response: CompressedFetchResponse
        do throws(WireError) {
            response = try CompressedFetchResponse(decoding: answer.body, version: 0)
        } catch {
            return completion(.failure(.malformed("\(error)")))
        }
        guard response.errorCode == .none else {
            return refused("the source's broker does not compress: \(response.errorCode.name)", message, completion)
        }
        let limit = connections.maximumResponseBytes
        guard let type = CompressionType(rawValue: UInt8(bitPattern: response.compressionType)), (0...limit).contains(Int(response.size))
        else {
            return completion(.failure(.malformed("an answer claims to be compressed in a way or size that there is not")))
        }
        board.traffic.problem = ""
        board.traffic.answers.add(before: Int(response.size), after: response.fetch.readableBytes)
        let (fetch, size, eventLoop) = (response.fetch, Int(response.size), eventLoop)
        guard type != .none, size > Self.smallAnswerBytes else { return completion(Self.decompressed(fetch, type, size)) }
        NIOThreadPool.singleton.submit { _ in
            let result = Self.decompressed(fetch, type, size)
            eventLoop.execute { completion(result) }
        }
    }

    /// - Parameter size: what comes out has to be just as large.
    private static func decompressed(_ bytes: ByteBuffer, _ type: CompressionType, _ size: Int) -> Result<PeerResponse, PeerFailure> {
        do throws(RecordBatchError) {
            let body = try Compression.decompress(bytes, type: type, maximumSize: size)
            guard body.readableBytes == size else { return .failure(.malformed("a compressed answer is shorter than it says")) }
            return .success(PeerResponse(version: versions.upperBound, body: body))
        } catch {
            return .failure(.malformed("a compressed answer cannot be unpacked: \(error)"))
        }
    }
}

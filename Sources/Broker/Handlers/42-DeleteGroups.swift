// DeleteGroups: removes empty groups with their offsets; share groups with what share coordinators keep of them.
import GroupCoordination
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteGroups(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteGroupsRequest.self)
        let responder = context.responder
        let access = access(context)
        var permitted = request
        permitted.groupsNames = request.groupsNames.filter { access.allows(.delete, .group, $0) }
        let allowed = Set(permitted.groupsNames)
        let denied = request.groupsNames.filter { !allowed.contains($0) }.map { id in
            DeleteGroupsResponse.DeletableGroupResult(id, .groupAuthorizationFailed)
        }
        deleteGroups(permitted, context.group) { answer in
            var response = answer
            response.results += denied
            responder.send(response)
        }
    }

    /// Deletes groups that this broker coordinates, whoever wants it.
    func deleteGroups(
        _ request: DeleteGroupsRequest, _ context: GroupRequestContext, completion: @escaping @Sendable (DeleteGroupsResponse) -> Void
    ) {
        deleteShareState(ofGroups: Set(request.groupsNames.filter { groups.isShareGroup($0) })) { [self] failed in
            var deletable = request
            deletable.groupsNames.removeAll { failed[$0] != nil }
            groups.deleteGroups(deletable, context: context) { answer in
                var response = answer
                response.results += failed.map { DeleteGroupsResponse.DeletableGroupResult($0.key, $0.value) }
                completion(response)
            }
        }
    }

    /// Deletes what share coordinators keep of share groups that are to be deleted.
    ///
    /// - Parameter completion: called with the groups of which something is left, and why.
    private func deleteShareState(ofGroups ids: Set<String>, completion: @escaping @Sendable ([String: ErrorCode]) -> Void) {
        let gathering = Gathering<(String, ErrorCode)>(ids.count) { outcomes in
            completion(Dictionary(outcomes.filter { $0.1 != .none }, uniquingKeysWith: { first, _ in first }))
        }
        for (index, id) in ids.enumerated() {
            groups.beginDeletingShareState(of: id, topics: nil) { [self] result in
                switch result {
                case .failure(let refusal): gathering.add(index, (id, refusal.code))
                case .success(let deletion): deleteShareState(deletion) { gathering.add(index, (id, $0)) }
                }
            }
        }
    }
}

extension DeleteGroupsResponse.DeletableGroupResult {
    fileprivate init(_ id: String, _ error: ErrorCode) {
        self.init()
        groupId = id
        errorCode = error
    }
}

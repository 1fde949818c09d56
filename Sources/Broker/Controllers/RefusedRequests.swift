// What the controller's APIs answer when a request is refused as a whole: each says it in another place of its response.
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension CreateTopicsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> CreateTopicsResponse {
        var response = CreateTopicsResponse()
        response.topics = topics.map { topic in failure.answer { $0.name = topic.name } }
        return response
    }
}

extension DeleteTopicsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> DeleteTopicsResponse {
        let asked = version >= 6 ? topics.map { ($0.name, $0.topicId) } : topicNames.map { ($0, .zero) }
        var response = DeleteTopicsResponse()
        response.responses = asked.map { name, id in
            failure.answer {
                $0.name = name
                $0.topicId = id
            }
        }
        return response
    }
}

extension CreatePartitionsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> CreatePartitionsResponse {
        var response = CreatePartitionsResponse()
        response.results = topics.map { topic in failure.answer { $0.name = topic.name } }
        return response
    }
}

extension AlterConfigsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AlterConfigsResponse {
        var response = AlterConfigsResponse()
        response.responses = resources.map { resource in
            failure.answer {
                $0.resourceType = resource.resourceType
                $0.resourceName = resource.resourceName
            }
        }
        return response
    }
}

extension IncrementalAlterConfigsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> IncrementalAlterConfigsResponse {
        var response = IncrementalAlterConfigsResponse()
        response.responses = resources.map { resource in
            failure.answer {
                $0.resourceType = resource.resourceType
                $0.resourceName = resource.resourceName
            }
        }
        return response
    }
}

extension UpdateFeaturesRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> UpdateFeaturesResponse {
        var response = UpdateFeaturesResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension ElectLeadersRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> ElectLeadersResponse {
        var response = ElectLeadersResponse()
        if version >= 1 { response.errorCode = failure.code }
        response.replicaElectionResults = (topicPartitions ?? []).map { topic in
            var result = ElectLeadersResponse.ReplicaElectionResult()
            result.topic = topic.topic
            result.partitionResult = topic.partitions.map { partition in
                var entry = ElectLeadersResponse.PartitionResult()
                entry.partitionId = partition
                entry.errorCode = failure.code
                entry.errorMessage = failure.description
                return entry
            }
            return result
        }
        return response
    }
}

extension AlterPartitionReassignmentsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AlterPartitionReassignmentsResponse {
        var response = AlterPartitionReassignmentsResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension ListPartitionReassignmentsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> ListPartitionReassignmentsResponse {
        var response = ListPartitionReassignmentsResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension UnregisterBrokerRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> UnregisterBrokerResponse {
        var response = UnregisterBrokerResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension UnregisterControllerRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> UnregisterControllerResponse {
        var response = UnregisterControllerResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension DescribeQuorumRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> DescribeQuorumResponse {
        var response = DescribeQuorumResponse()
        response.errorCode = failure.code
        if version >= 2 { response.errorMessage = failure.description }
        return response
    }
}

// MARK: between nodes

extension BrokerRegistrationRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> BrokerRegistrationResponse {
        var response = BrokerRegistrationResponse()
        response.errorCode = failure.code
        return response
    }
}

extension BrokerHeartbeatRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> BrokerHeartbeatResponse {
        var response = BrokerHeartbeatResponse()
        response.errorCode = failure.code
        return response
    }
}

extension ControllerRegistrationRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> ControllerRegistrationResponse {
        var response = ControllerRegistrationResponse()
        response.errorCode = failure.code
        response.errorMessage = failure.description
        return response
    }
}

extension AllocateProducerIdsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AllocateProducerIdsResponse {
        var response = AllocateProducerIdsResponse()
        response.errorCode = failure.code
        return response
    }
}

extension AlterPartitionRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AlterPartitionResponse {
        var response = AlterPartitionResponse()
        response.errorCode = failure.code
        return response
    }
}

extension AssignReplicasToDirsRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AssignReplicasToDirsResponse {
        var response = AssignReplicasToDirsResponse()
        response.errorCode = failure.code
        return response
    }
}

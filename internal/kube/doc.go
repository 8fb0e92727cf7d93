// Package kube is a connection to the API server of a Kubernetes cluster.
//
// It reads how a cluster is reached from a kubeconfig file or from the pod that this runs in,
// and sends single requests: over TLS alone, with the token of the moment, without following
// anybody elsewhere, and bounded in time and size. What a request asks for is its caller's.
package kube

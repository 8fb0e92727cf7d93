// Package kubernetes is a cluster as a source of the inventory: what its pods run.
//
// It lists pods through the API server, page by page, and reads nothing else; a token
// that may list pods is enough. An image counts under the digest that the node pulled
// (status.containerStatuses[].imageID), not under what the pod's author wrote. Init
// and ephemeral containers count as well: they ran with the pod's rights.
package kubernetes

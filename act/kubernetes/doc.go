// Package kubernetes moves levers of workloads in a Kubernetes cluster: how many replicas a
// Deployment or StatefulSet has, the least that a HorizontalPodAutoscaler keeps, and whether a
// CronJob or Job may run.
//
// Only what Options declare is touched, one object for each lever. Where an object stands, who
// moved it last and which keys were done is written in one request: the record is an annotation
// of the object, and each write is on condition that nothing changed since the object was read.
// So a deposed owner is refused and a key is done once, after a crash of either side too, and
// the adapter is act.Fenced without a store of its own.
//
// A CronJob that is stopped takes along the Jobs that it has under way, which are let go on
// with it. Those are objects of their own: a step that breaks off between them is seen as not
// done by Levers, and ends when its key is repeated.
package kubernetes

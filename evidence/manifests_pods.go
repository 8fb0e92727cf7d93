package evidence

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pods checks the pods that an object makes for what no server accepts.
func (m *manifests) pods(at manifest, obj runtime.Object) error {
	spec, path := podSpec(obj)
	if spec == nil {
		return nil
	}
	if len(spec.Containers) == 0 {
		if err := m.problem(at, "missing-containers", path, "has no containers in "+path); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i, c := range list.containers {
			place := fmt.Sprintf("%s.%s[%d]", path, list.name, i)
			if c.Name == "" {
				if err := m.problem(at, "missing-name", place, place+" has no name"); err != nil {
					return err
				}
			}
			if c.Image == "" {
				if err := m.problem(at, "missing-image", place, place+" has no image"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// podSpec returns the pod that an object is or makes, and where it stands in it.
func podSpec(obj runtime.Object) (spec *corev1.PodSpec, path string) {
	const inTemplate = "spec.template.spec"
	switch o := obj.(type) {
	case *corev1.Pod:
		return &o.Spec, "spec"
	case *corev1.PodTemplate:
		return &o.Template.Spec, "template.spec"
	case *corev1.ReplicationController:
		if o.Spec.Template == nil {
			return nil, ""
		}
		return &o.Spec.Template.Spec, inTemplate
	case *appsv1.Deployment:
		return &o.Spec.Template.Spec, inTemplate
	case *appsv1.StatefulSet:
		return &o.Spec.Template.Spec, inTemplate
	case *appsv1.DaemonSet:
		return &o.Spec.Template.Spec, inTemplate
	case *appsv1.ReplicaSet:
		return &o.Spec.Template.Spec, inTemplate
	case *batchv1.Job:
		return &o.Spec.Template.Spec, inTemplate
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template.Spec, "spec.jobTemplate.spec.template.spec"
	}
	return nil, ""
}

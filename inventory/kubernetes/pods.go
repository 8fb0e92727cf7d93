package kubernetes

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/inventory"
	corev1 "k8s.io/api/core/v1"
)

// tally counts what pods run.
type tally map[inventory.Sighting]int

// add counts the containers of a pod that has not ended.
func (t tally) add(p *corev1.Pod) {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return
	}
	written := images(p)
	service := serviceOf(p)
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for _, s := range list {
			if s.ImageID == "" && s.State.Running == nil {
				continue // not pulled yet: nothing runs
			}
			image := cmp.Or(written[s.Name], s.Image)
			g := inventory.Fit(inventory.Sighting{Service: service, Place: p.Namespace, Image: image, Digest: digestOf(s.ImageID)})
			if g.Digest == "" && g.Image == "" {
				continue
			}
			t[g]++
		}
	}
}

// sightings are what was counted, in a stable order.
func (t tally) sightings() []inventory.Sighting {
	out := make([]inventory.Sighting, 0, len(t))
	for g, n := range maps.All(t) {
		g.Instances = min(n, inventory.MaxInstances)
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b inventory.Sighting) int {
		return cmp.Or(strings.Compare(a.Place, b.Place), strings.Compare(a.Service, b.Service), strings.Compare(a.Image, b.Image), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	return out
}

// images are what the pod's author wrote, by container.
func images(p *corev1.Pod) map[string]string {
	out := map[string]string{}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out[c.Name] = c.Image
	}
	for _, c := range p.Spec.EphemeralContainers {
		out[c.Name] = c.Image
	}
	return out
}

// digestOf reads the digest that an image was pulled by, "" if there is none: a bare
// "sha256:…" is the name of a config, which no registry knows an image by.
func digestOf(imageID string) assay.Digest {
	_, after, found := strings.Cut(imageID, "@")
	if !found {
		return ""
	}
	d, err := assay.ParseDigest(after)
	if err != nil {
		return ""
	}
	return d
}

// labels that name the service of a pod, the first that is set.
var labels = []string{"app.kubernetes.io/name", "k8s-app", "app"}

// serviceOf names what a pod belongs to: by its labels, else by its owner.
func serviceOf(p *corev1.Pod) string {
	for _, l := range labels {
		if v := p.Labels[l]; v != "" {
			return v
		}
	}
	for _, o := range p.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			return strings.TrimSuffix(o.Name, "-"+hash) // the Deployment
		}
		return o.Name
	}
	return p.Name
}

// parsePods reads one page of a list of pods.
func parsePods(data []byte) (corev1.PodList, error) {
	var list corev1.PodList
	if err := json.Unmarshal(data, &list); err != nil {
		return list, assay.Errorf(assay.CodeUnverified, "the list of pods cannot be read: %w", err)
	}
	if list.Kind != "PodList" {
		return list, assay.Errorf(assay.CodeUnverified, "the answer is a %q, not a PodList", clip(list.Kind))
	}
	return list, nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

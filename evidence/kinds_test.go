package evidence

import (
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
)

// A version of Kubernetes may bring groups: whoever takes it up adds them.
func TestTheKindsOfManifestsAreThoseOfKubernetesClients(t *testing.T) {
	have, want := kubernetesKinds().AllKnownTypes(), scheme.Scheme.AllKnownTypes()
	if len(want) < 500 {
		t.Fatalf("clients know %d kinds: this compares nothing", len(want))
	}
	for gvk := range want {
		if have[gvk] != want[gvk] {
			t.Errorf("%s is %v here and %v in clients", gvk, have[gvk], want[gvk])
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d kinds, clients know %d", len(have), len(want))
	}
}

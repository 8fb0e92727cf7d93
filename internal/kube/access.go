package kube

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"assay.dev/assay"
	"sigs.k8s.io/yaml"
)

// MaxKubeconfig is the largest kubeconfig, token or certificate file, in bytes.
const MaxKubeconfig = 1 << 20

// InCluster is the path that stands for the pod's own service account.
const InCluster = "in-cluster"

// serviceAccount is where a pod finds its account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Access says how an API server is reached.
type Access struct {
	Server    string // https://host:port
	CA        []byte // PEM; none means those of this machine
	Token     string
	TokenFile string // read anew for each request: clusters replace tokens
	Cert, Key []byte // PEM, of the client
}

// token is what the next request shows.
func (a Access) token() (string, error) {
	if a.TokenFile == "" {
		return a.Token, nil
	}
	data, err := bounded(a.TokenFile)
	return strings.TrimSpace(string(data)), err
}

// Open reads how a cluster is reached: from a kubeconfig file, or, if path is
// InCluster, from the pod that this runs in.
func Open(path string) (Access, error) {
	if path == InCluster {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), cmp.Or(os.Getenv("KUBERNETES_SERVICE_PORT"), "443")
		if host == "" {
			return Access{}, &assay.Error{Code: assay.CodeInvalid, Msg: "this is no pod of a cluster: KUBERNETES_SERVICE_HOST is not set", Hint: "name a kubeconfig file instead of " + InCluster}
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		ca, err := bounded(filepath.Join(serviceAccount, "ca.crt"))
		return Access{Server: "https://" + host + ":" + port, CA: ca, TokenFile: filepath.Join(serviceAccount, "token")}, err
	}
	data, err := bounded(path)
	if err != nil {
		return Access{}, err
	}
	a, err := ParseKubeconfig(data, filepath.Dir(path), bounded)
	if e, ok := err.(*assay.Error); ok && e.File == "" {
		return a, e.In(path)
	}
	return a, err
}

func bounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxKubeconfig {
		return nil, assay.Errorf(assay.CodeTooLarge, "has %d bytes; at most %d are read", info.Size(), MaxKubeconfig).In(path)
	}
	return os.ReadFile(path)
}

// kubeconfig is as much of a kubeconfig file as is understood.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server   string `json:"server"`
			CA       string `json:"certificate-authority"`
			CAData   []byte `json:"certificate-authority-data"`
			Insecure bool   `json:"insecure-skip-tls-verify"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string `json:"name"`
		User struct {
			Token     string         `json:"token"`
			TokenFile string         `json:"tokenFile"`
			Cert      string         `json:"client-certificate"`
			CertData  []byte         `json:"client-certificate-data"`
			Key       string         `json:"client-key"`
			KeyData   []byte         `json:"client-key-data"`
			Username  string         `json:"username"`
			Exec      map[string]any `json:"exec"`
			Provider  map[string]any `json:"auth-provider"`
		} `json:"user"`
	} `json:"users"`
}

// ParseKubeconfig reads the current context of a kubeconfig file that lies in dir; read
// reads the files that it names. Programs that it names are not run, and a cluster
// whose certificate is not to be checked is refused.
func ParseKubeconfig(data []byte, dir string, read func(path string) ([]byte, error)) (Access, error) {
	if len(data) > MaxKubeconfig {
		return Access{}, assay.Errorf(assay.CodeTooLarge, "has %d bytes; at most %d are read", len(data), MaxKubeconfig)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return Access{}, assay.Errorf(assay.CodeInvalid, "is no kubeconfig: %w", err)
	}
	cluster, user := "", ""
	for _, c := range k.Contexts {
		if c.Name == k.CurrentContext {
			cluster, user = c.Context.Cluster, c.Context.User
		}
	}
	if cluster == "" {
		return Access{}, &assay.Error{Code: assay.CodeInvalid, Field: "current-context", Msg: "names no context of the file that has a cluster", Hint: "choose one with: kubectl config use-context NAME"}
	}
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	either := func(inline []byte, path string) ([]byte, error) {
		if len(inline) > 0 || path == "" {
			return inline, nil
		}
		return read(at(path))
	}
	var a Access
	var err error
	for _, c := range k.Clusters {
		if c.Name != cluster {
			continue
		}
		if c.Cluster.Insecure {
			return Access{}, &assay.Error{Code: assay.CodeDenied, Field: "insecure-skip-tls-verify", Msg: "is set for cluster " + quoted(cluster) + "; a token is not shown to whoever answers", Hint: "give its certificate-authority"}
		}
		a.Server = c.Cluster.Server
		if a.CA, err = either(c.Cluster.CAData, c.Cluster.CA); err != nil {
			return Access{}, err
		}
	}
	for _, u := range k.Users {
		if u.Name != user {
			continue
		}
		if len(u.User.Exec) > 0 || len(u.User.Provider) > 0 || u.User.Username != "" {
			return Access{}, &assay.Error{Code: assay.CodeInvalid, Field: "users", Msg: "user " + quoted(user) + " logs in with a program or a password, which is not done here", Hint: "make a token for a service account: kubectl create token NAME, and give it as tokenFile"}
		}
		a.Token, a.TokenFile = u.User.Token, at(u.User.TokenFile)
		if a.Cert, err = either(u.User.CertData, u.User.Cert); err != nil {
			return Access{}, err
		}
		if a.Key, err = either(u.User.KeyData, u.User.Key); err != nil {
			return Access{}, err
		}
	}
	return a, nil
}

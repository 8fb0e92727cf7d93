package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setting is one thing that can be configured. Flags win over the environment,
// the environment over the file, the file over the default.
type setting struct {
	name   string // flag name and key in the file; the variable is ASSAY_NAME
	def    string
	usage  string
	secret bool // never a flag: command lines are visible to every user of the machine
}

var settings = []setting{
	{name: "dir", def: ".assay", usage: "state directory: store, ledger, payloads and keys"},
	{name: "server", usage: "URL of a control plane to use instead of a local directory"},
	{name: "server-ca", usage: "file of certificates (PEM) of the authority of --server, instead of those that the machine trusts"},
	{name: "token", usage: "bearer token", secret: true},
	{name: "namespace", def: "default", usage: "namespace (tenant) for work on a local directory"},
	{name: "policy", def: "policies", usage: "policy directory"},
	{name: "key", usage: "private key for attestations: a file (default DIR/keys/assay.key), pkcs11:…, hashivault://NAME or openbao://NAME"},
	{name: "signer", usage: "program that holds a --key that is no file (default assay-signer-pkcs11 or assay-signer-kms)"},
	{name: "passphrase", usage: "passphrase of the private keys", secret: true},
	{name: "passphrase-file", usage: "file that holds the passphrase of the private keys"},
	{name: "verifier-id", def: assay.DefaultVerifierID, usage: "verifier.id in the attestations we sign"},
	{name: "origin", def: assay.DefaultOrigin, usage: "origin line of the ledger's checkpoints"},
	{name: "witnesses", usage: "policy file of witnesses (C2SP tlog-policy): who must have cosigned the ledger's heads"},
	{name: "witness-logs", usage: "file that names the logs which assay serve cosigns as a witness"},
	{name: "audit-every", def: "6h", usage: "how often assay serve audits its own ledger; 0 means never"},
	{name: "evidence-days", def: "0", usage: "days that assay serve keeps reports after the last verdict that used them; 0 means for ever"},
	{name: "proxy", usage: "URL of the enforcer's control API, for assay serve"},
	{name: "proxy-token", usage: "bearer token of the enforcer's control API", secret: true},
	{name: "doors", usage: "file of the doors, besides the enforcer, that move levers of strategies"},
	{name: "notify", usage: "URL of an Alertmanager that assay serve tells what people have to act on"},
	{name: "notify-token", usage: "bearer token for --notify", secret: true},
	{name: "registry-ca", usage: "file of certificates (PEM) of the authorities of private registries"},
	{name: "log-level", def: "info", usage: "debug, info, warn or error"},
}

// flagSource holds the flags that settings and the configuration file have.
type flagSource struct {
	file   string
	values map[string]*string
}

func addConfigFlags(fs *pflag.FlagSet) *flagSource {
	src := &flagSource{values: map[string]*string{}}
	fs.StringVar(&src.file, "config", "", "configuration file (default assay.yaml if it exists)")
	for _, s := range settings {
		if s.secret {
			continue
		}
		usage := s.usage
		if s.def != "" {
			usage += " (default " + s.def + ")"
		}
		src.values[s.name] = fs.String(s.name, "", usage)
	}
	return src
}

// value is a setting's effective value and where it came from.
type value struct {
	text   string
	origin string // "flag", "environment", a file name or "default"
}

type config map[string]value

func (c config) get(name string) string { return c[name].text }

// chosen reports whether somebody set the value, rather than the default.
func (c config) chosen(name string) bool { return c[name].origin != "default" }

// configFile is the document of a configuration file. Keys are those of settings.
type configFile struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Spec       map[string]string `json:"spec"`
}

// maxConfig is the largest configuration file, in bytes.
const maxConfig = 64 << 10

func loadConfig(flags *flagSource, changed func(string) bool, env func(string) string) (config, error) {
	path, file, err := readConfigFile(flags.file, env)
	if err != nil {
		return nil, err
	}
	cfg := config{}
	for _, s := range settings {
		v := value{s.def, "default"}
		if text, ok := file[s.name]; ok {
			v = value{text, path}
		}
		if text := env(variable(s.name)); text != "" {
			v = value{text, "environment"}
		}
		if f := flags.values[s.name]; f != nil && changed(s.name) {
			v = value{*f, "flag"}
		}
		cfg[s.name] = v
	}
	return cfg, nil
}

// variable is the one of the environment that a setting has.
func variable(setting string) string {
	return "ASSAY_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

func readConfigFile(flag string, env func(string) string) (string, map[string]string, error) {
	path, named := flag, true
	if path == "" {
		path = env("ASSAY_CONFIG")
	}
	if path == "" {
		path, named = "assay.yaml", false
	}
	data, err := readFile(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	var doc configFile
	at, err := decodeConfig(data, &doc)
	if err != nil {
		return "", nil, inFile(err, path)
	}
	if doc.APIVersion != assay.APIVersion || doc.Kind != "Config" {
		return "", nil, &assay.Error{
			Code: assay.CodeInvalid, File: path, Line: 1,
			Msg: "is not a configuration: expected apiVersion " + assay.APIVersion + " and kind Config",
		}
	}
	var known []string
	for _, s := range settings {
		if !s.secret {
			known = append(known, s.name)
		}
	}
	for k := range doc.Spec {
		if !slices.Contains(known, k) {
			return "", nil, at.Errorf([]string{"spec", k}, "%s", strict.OneOf(k, known)).In(path)
		}
	}
	return path, doc.Spec, nil
}

// decodeConfig decodes the one document of a configuration file.
func decodeConfig(data []byte, doc *configFile) (strict.Document, error) {
	docs, err := strict.Documents(data)
	if err != nil {
		return strict.Document{}, err
	}
	if len(docs) != 1 {
		return strict.Document{}, assay.Errorf(assay.CodeInvalid, "holds %d YAML documents; expected one of kind Config", len(docs))
	}
	return docs[0], docs[0].Decode(doc)
}

// readFile reads a whole small file and refuses a larger one.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, limit)
	if err != nil {
		return nil, inFile(err, path)
	}
	return data, nil
}

// inFile names the file in an error that has none.
func inFile(err error, path string) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && e.File == "" {
		return e.In(path)
	}
	return err
}

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show the effective configuration"}
	cmd.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Print every setting, its value and where it came from; secrets are masked",
		Long: `Print every setting, its value and where it came from; secrets are masked.

Flags win over the environment (ASSAY_…), the environment over the configuration
file, the file over defaults. Reads the configuration file and changes nothing.

Exit codes: 0 printed · 1 the configuration is wrong · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name   string `json:"name"`
				Value  string `json:"value"`
				Origin string `json:"origin"`
			}
			var rows []row
			var table [][]string
			for _, s := range settings {
				v := a.cfg[s.name]
				if s.secret && v.text != "" {
					v.text = "********"
				}
				rows = append(rows, row{s.name, v.text, v.origin})
				table = append(table, []string{s.name, v.text, v.origin})
			}
			return a.print(rows, func() { a.out.Table([]string{"SETTING", "VALUE", "ORIGIN"}, table) })
		},
	})
	return cmd
}

package config

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Role is what a node does in the mesh.
type Role string

const (
	Voter    Role = "voter"    // votes and holds addresses
	Observer Role = "observer" // holds addresses, does not vote
	Witness  Role = "witness"  // votes, never holds an address
)

// TLSFiles are the operator's own certificate material; empty when not given.
type TLSFiles struct{ CA, Cert, Key string }

// MeshFencing is the fencing block. OnMeshLoss is release or hold.
type MeshFencing struct {
	Policy     string
	OnMeshLoss string
}

// Mesh is a mesh.conf with defaults filled in. The content of EncryptKeyFile
// is read by whoever uses it.
type Mesh struct {
	Block
	ClusterName     string
	NodeName        string
	Bind            []netip.Addr // one or two
	Port            int
	Join            []string // HOST or HOST:PORT as written
	BootstrapExpect int      // 0: not given
	Role            Role
	DataDir         string
	EncryptKeyFile  string
	TLS             TLSFiles
	HTTPListen      netip.AddrPort
	Fencing         MeshFencing
	LANProbe        Toggle
}

// Defaults of mesh.conf.
const (
	DefaultMeshFile   = "/etc/keepmesh/mesh.conf"
	DefaultMeshPort   = 7946
	DefaultDataDir    = "/var/lib/keepmesh"
	DefaultHTTPListen = "127.0.0.1:7980"
)

// MeshKeywords gives the language of mesh.conf.
func MeshKeywords() []Keyword { return slices.Clone(meshTable().rows) }

func meshTable() *keywordTable {
	t := &keywordTable{section: map[string]map[string]*Keyword{}, rows: []Keyword{
		{Section: "root", Name: "mesh", sub: "mesh", set: beginMesh},
		{Section: "mesh", Name: "cluster_name", Args: "NAME", set: meshName(mf(func(m *Mesh) *string { return &m.ClusterName }))},
		{Section: "mesh", Name: "node_name", Args: "NAME", set: meshName(mf(func(m *Mesh) *string { return &m.NodeName }))},
		{Section: "mesh", Name: "bind", Args: "ADDRESS", set: meshBind},
		{Section: "mesh", Name: "port", Args: "PORT", set: num(1, 65534, mf(func(m *Mesh) *int { return &m.Port }))},
		{Section: "mesh", Name: "join", Args: "{ HOST[:PORT] ... }", lines: meshJoin},
		{Section: "mesh", Name: "bootstrap_expect", Args: "N", set: num(1, 99, mf(func(m *Mesh) *int { return &m.BootstrapExpect }))},
		{Section: "mesh", Name: "role", Args: "voter|observer|witness", set: meshRole},
		{Section: "mesh", Name: "data_dir", Args: "PATH", set: absPath(mf(func(m *Mesh) *string { return &m.DataDir }))},
		{Section: "mesh", Name: "encrypt_key_file", Args: "PATH", set: absPath(mf(func(m *Mesh) *string { return &m.EncryptKeyFile }))},
		{Section: "mesh", Name: "tls", sub: "mesh/tls", set: keepBlock, done: endTLS},
		{Section: "mesh/tls", Name: "ca", Args: "PATH", set: absPath(mf(func(m *Mesh) *string { return &m.TLS.CA }))},
		{Section: "mesh/tls", Name: "cert", Args: "PATH", set: absPath(mf(func(m *Mesh) *string { return &m.TLS.Cert }))},
		{Section: "mesh/tls", Name: "key", Args: "PATH", set: absPath(mf(func(m *Mesh) *string { return &m.TLS.Key }))},
		{Section: "mesh", Name: "http_listen", Args: "ADDRESS:PORT", set: meshListen},
		{Section: "mesh", Name: "lan_probe", Args: "auto|on|off", set: lanProbe(mf(func(m *Mesh) *Toggle { return &m.LANProbe }))},
		{Section: "mesh", Name: "fencing", sub: "mesh/fencing", set: keepBlock},
		{Section: "mesh/fencing", Name: "policy", Args: "availability", set: meshPolicy},
		{Section: "mesh/fencing", Name: "on_mesh_loss", Args: "release|hold", set: choice(mf(func(m *Mesh) *string { return &m.Fencing.OnMeshLoss }), "release", "hold")},
	}}
	for i := range t.rows {
		k := &t.rows[i]
		k.Support, k.Ours, k.Tier, k.recorded = Accepted, true, A, true
		if t.section[k.Section] == nil {
			t.section[k.Section] = map[string]*Keyword{}
		}
		t.section[k.Section][k.Name] = k
	}
	t.markEffects(meshEffects)
	return t
}

// LoadMesh reads a mesh.conf. The result is nil only when the file cannot be
// read or has no mesh block.
func LoadMesh(path string) (*Mesh, []Problem) { return loadMesh(File(path), Options{}) }

func loadMesh(src Source, opt Options) (*Mesh, []Problem) {
	d, r, problems := newLoad(src, &opt, meshTable())
	if err := r.open(src.Main(), nil); err != nil {
		message, hint := readError(src.Main(), err)
		return nil, []Problem{{Pos: Pos{File: src.Main()}, Severity: Error, Code: Fatal, Message: message, Hint: hint}}
	}
	p := &parser{r: r, d: d, table: d.table, mesh: true}
	p.parse("root")
	if d.mesh == nil {
		if len(*problems) == 0 {
			r.problem(Pos{File: src.Main(), Line: 1, Col: 1}, Error, Fatal, "has no mesh block", "mesh { cluster_name NAME  bind ADDRESS  join { HOST ... } }")
		}
		sortProblems(*problems, r.order)
		return nil, *problems
	}
	d.finishMesh()
	sortProblems(*problems, r.order)
	return d.mesh, *problems
}

func beginMesh(d *decoder, s *stmt) {
	if d.mesh != nil {
		d.fail(s, "is given twice, this one is ignored", "first at "+d.mesh.Pos.String())
		d.skip = true
		return
	}
	d.mesh = &Mesh{
		Block: Block{Pos: s.key.Pos}, Port: DefaultMeshPort, Role: Voter, DataDir: DefaultDataDir,
		HTTPListen: netip.MustParseAddrPort(DefaultHTTPListen),
		Fencing:    MeshFencing{Policy: PolicyAvailability, OnMeshLoss: "release"},
	}
	d.opened = &d.mesh.Block
}

var meshNameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$`)

func meshName(f field[string]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		switch {
		case !ok:
		case !meshNameForm.MatchString(t.Text):
			d.failAt(s, t, fmt.Sprintf("%q is not a name", printable(t.Text)), "1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first")
		default:
			*f(d) = t.Text
		}
	}
}

func meshBind(d *decoder, s *stmt) {
	if _, ok := d.need(s, 0); !ok {
		return
	}
	for _, t := range s.args {
		a, ok := d.address(s, t, 0)
		switch {
		case !ok:
		case a.IsUnspecified() || a.IsMulticast():
			d.failAt(s, t, a.String()+" is not an address of this node", "one address that the other nodes reach")
		case slices.Contains(d.mesh.Bind, a):
			d.failAt(s, t, a.String()+" is given twice", "the second bind is for a second path")
		case len(d.mesh.Bind) == 2:
			d.failAt(s, t, "is a third address", "bind may be given twice, for two paths")
		default:
			d.mesh.Bind = append(d.mesh.Bind, a)
		}
	}
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$`)

func meshJoin(d *decoder, l *stmt) {
	for _, t := range append([]Token{l.key}, l.args...) {
		host, port := t.Text, ""
		if _, err := netip.ParseAddr(host); err != nil {
			if i := strings.LastIndexByte(host, ':'); i >= 0 {
				host, port = strings.Trim(host[:i], "[]"), host[i+1:]
			}
			if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) || strings.HasSuffix(t.Text, ":") {
				d.failAt(l, t, fmt.Sprintf("port %q is out of range", printable(port)), "HOST or HOST:PORT, port 1 to 65535")
				continue
			}
			if _, err := netip.ParseAddr(host); err != nil && !hostForm.MatchString(host) {
				d.failAt(l, t, fmt.Sprintf("%q is neither an address nor a host name", printable(t.Text)), "HOST or HOST:PORT, IPv6 with a port as [ADDRESS]:PORT")
				continue
			}
		}
		if slices.Contains(d.mesh.Join, t.Text) {
			d.problemAt(t.Pos, Warning, OursOnly, "join", t.Text+" is given twice", "")
			continue
		}
		d.mesh.Join = append(d.mesh.Join, t.Text)
	}
}

func meshRole(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch r := Role(t.Text); r {
	case Voter, Observer, Witness:
		d.mesh.Role = r
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "voter, observer or witness")
	}
}

func endTLS(d *decoder) {
	t := d.mesh.TLS
	for _, f := range []struct{ word, value string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
		if f.value == "" {
			d.problemAt(d.top().pos, Error, OursOnly, "tls", f.word+" is missing", "ca, cert and key belong together; without tls the cluster makes its own")
		}
	}
}

func meshListen(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	ap, err := netip.ParseAddrPort(t.Text)
	switch {
	case err != nil:
		d.failAt(s, t, fmt.Sprintf("%q is not an address with a port", printable(t.Text)), "such as 127.0.0.1:7980 or [::1]:7980")
	case ap.Port() == 0:
		d.failAt(s, t, "port 0 is not possible", "1 to 65535")
	default:
		d.mesh.HTTPListen = ap
	}
}

func meshPolicy(d *decoder, s *stmt) {
	if p, ok := d.policy(s); ok {
		d.mesh.Fencing.Policy = p
	}
}

// finishMesh fills in the node's name and reports what is missing.
func (d *decoder) finishMesh() {
	m := d.mesh
	missing := func(keyword, hint string) {
		d.out(Problem{Pos: m.Pos, Severity: Error, Path: "mesh", Keyword: keyword, Message: "is missing", Hint: hint})
	}
	if m.NodeName == "" && !m.Has("node_name") {
		m.NodeName, _ = os.Hostname()
	}
	if !m.Has("cluster_name") {
		missing("cluster_name", "the same name on every node")
	}
	if !m.Has("bind") {
		missing("bind", "the address of this node for mesh traffic")
	}
	if m.EncryptKeyFile == "" && m.TLS == (TLSFiles{}) && !m.Has("encrypt_key_file") {
		missing("encrypt_key_file", "a file with base64 of 16, 24 or 32 bytes, the same on every node: head -c 32 /dev/urandom | base64")
	}
	if m.BootstrapExpect > 0 && m.Role == Observer {
		at, _ := m.At("bootstrap_expect")
		d.out(Problem{Pos: at, Severity: Warning, Path: "mesh", Keyword: "bootstrap_expect", Message: "an observer does not bootstrap", Hint: "remove it here"})
	}
	if m.BootstrapExpect > 1 && len(m.Join) == 0 && !m.Has("join") {
		missing("join", "bootstrap_expect waits for nodes that join names")
	}
	if m.BootstrapExpect == 2 {
		at, _ := m.At("bootstrap_expect")
		d.out(Problem{Pos: at, Severity: Warning, Path: "mesh", Keyword: "bootstrap_expect", Message: "two voters survive the loss of none", Hint: "three, or add a witness"})
	}
}

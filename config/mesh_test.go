package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const wholeMesh = `mesh {
    cluster_name     edge            # a comment
    node_name        lb1
    bind             10.0.0.11
    bind             10.1.0.11
    port             7947
    join { 10.0.0.11 10.0.0.12 lb3.example:7946 [2001:db8::3]:7946 }
    bootstrap_expect 3
    role             witness
    data_dir         /var/lib/other
    encrypt_key_file /etc/keepmesh/gossip.key
    tls { ca /etc/ca
          cert /etc/cert
          key /etc/key }
    http_listen      127.0.0.1:7981
    lan_probe        off
    fencing {
        policy         availability
        on_mesh_loss   hold
    }
}
`

func meshOf(text string) (*Mesh, string) {
	m, problems := loadMesh(files("mesh.conf", text), Options{})
	return m, problemLines(problems)
}

func TestMeshFileIsReadWhole(t *testing.T) {
	m, problems := meshOf(wholeMesh)
	for line := range strings.Lines(problems) {
		if !strings.HasPrefix(line, "note ") {
			t.Error(line)
		}
	}
	m.Block = Block{}
	want := &Mesh{
		ClusterName: "edge", NodeName: "lb1",
		Bind: []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.1.0.11")}, Port: 7947,
		Join:            []string{"10.0.0.11", "10.0.0.12", "lb3.example:7946", "[2001:db8::3]:7946"},
		BootstrapExpect: 3, Role: Witness, DataDir: "/var/lib/other", EncryptKeyFile: "/etc/keepmesh/gossip.key",
		TLS: TLSFiles{"/etc/ca", "/etc/cert", "/etc/key"}, HTTPListen: netip.MustParseAddrPort("127.0.0.1:7981"),
		Fencing: MeshFencing{PolicyAvailability, "hold"}, LANProbe: Off,
	}
	if diff := cmp.Diff(want, m, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMeshDefaults(t *testing.T) {
	m, problems := meshOf("mesh {\n cluster_name edge\n bind 10.0.0.1\n encrypt_key_file /k\n}\n")
	if problems != "" {
		t.Fatalf("problems:\n%s", problems)
	}
	if m.Port != 7946 || m.Role != Voter || m.DataDir != DefaultDataDir || m.HTTPListen.String() != DefaultHTTPListen ||
		m.Fencing != (MeshFencing{PolicyAvailability, "release"}) || m.NodeName == "" {
		t.Errorf("%+v", m)
	}
}

func TestMeshMistakes(t *testing.T) {
	good := "cluster_name edge\nbind 10.0.0.1\nencrypt_key_file /k\n"
	for _, c := range []struct{ name, text, want string }{
		{"quorum", "mesh {\n" + good + "fencing {\npolicy quorum\n}\n}\n", "mesh.conf:6:8: mesh > fencing: policy: policy quorum is not available in this version"},
		{"unknown policy", "mesh {\n" + good + "fencing {\npolicy some\n}\n}\n", `policy "some" is unknown`},
		{"nothing required", "mesh {\n}\n", "mesh: bind: is missing"},
		{"no cluster name", "mesh {\n}\n", "mesh: cluster_name: is missing"},
		{"no key", "mesh {\n}\n", "mesh: encrypt_key_file: is missing"},
		{"no block", "\n", "has no mesh block"},
		{"two blocks", "mesh {\n" + good + "}\nmesh {\n}\n", "is given twice"},
		{"bad bind", "mesh {\n" + good + "bind 0.0.0.0\n}\n", "0.0.0.0 is not an address of this node"},
		{"third bind", "mesh {\n" + good + "bind 10.0.0.2\nbind 10.0.0.3\n}\n", "is a third address"},
		{"bad port", "mesh {\n" + good + "port 65535\n}\n", "65535 is out of range (must be 1 to 65534)"},
		{"bad seed", "mesh {\n" + good + "join { a:70000 }\n}\n", `port "70000" is out of range`},
		{"bad seed name", "mesh {\n" + good + "join { a_b/c }\n}\n", "neither an address nor a host name"},
		{"bad role", "mesh {\n" + good + "role boss\n}\n", "voter, observer or witness"},
		{"relative path", "mesh {\n" + good + "data_dir lib\n}\n", "is not an absolute path"},
		{"half a tls block", "mesh {\n" + good + "tls {\nca /a\n}\n}\n", "tls: cert is missing"},
		{"bad listen", "mesh {\n" + good + "http_listen 7980\n}\n", "is not an address with a port"},
		{"typo", "mesh {\n" + good + "boostrap_expect 3\n}\n", "did you mean bootstrap_expect?"},
		{"unclosed", "mesh {\n" + good, "} is missing at the end of the file (mesh was opened at mesh.conf:1:6)"},
		{"bad name", "mesh {\n" + good + "node_name a/b\n}\n", `"a/b" is not a name`},
		{"bootstrap alone", "mesh {\n" + good + "bootstrap_expect 3\n}\n", "mesh: join: is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := meshOf(c.text)
			if !strings.Contains(got, c.want) {
				t.Errorf("want %q in\n%s", c.want, got)
			}
		})
	}
}

func TestMeshFileThatIsNotThere(t *testing.T) {
	m, problems := LoadMesh("/nonexistent/mesh.conf")
	if m != nil || len(problems) != 1 || problems[0].Severity != Error {
		t.Errorf("%v %v", m, problems)
	}
}

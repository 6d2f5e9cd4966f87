package config

// The adapters below turn "a field of the object that is open" into what the
// setters take; they keep the table's rows short.

func gl[T any](f func(*Global) *T) field[T]       { return func(d *decoder) *T { return f(&d.cfg.Global) } }
func in[T any](f func(*Instance) *T) field[T]     { return func(d *decoder) *T { return f(d.inst) } }
func gf[T any](f func(*SyncGroup) *T) field[T]    { return func(d *decoder) *T { return f(d.group) } }
func sf[T any](f func(*Script) *T) field[T]       { return func(d *decoder) *T { return f(d.scr) } }
func ff[T any](f func(*TrackFile) *T) field[T]    { return func(d *decoder) *T { return f(d.tf) } }
func pf[T any](f func(*TrackProcess) *T) field[T] { return func(d *decoder) *T { return f(d.proc) } }
func bf[T any](f func(*BFD) *T) field[T]          { return func(d *decoder) *T { return f(d.bfd) } }
func agf[T any](f func(*GARPGroup) *T) field[T]   { return func(d *decoder) *T { return f(d.garp) } }
func sslf[T any](f func(*Config) *T) field[T]     { return func(d *decoder) *T { return f(d.cfg) } }
func vsf[T any](f func(*VirtualServer) *T) field[T] {
	return func(d *decoder) *T { return f(d.vs) }
}
func rsf[T any](f func(*RealServer) *T) field[T] { return func(d *decoder) *T { return f(d.rs) } }
func ckf[T any](f func(*Checker) *T) field[T]    { return func(d *decoder) *T { return f(d.chk) } }
func urlf[T any](f func(*URL) *T) field[T]       { return func(d *decoder) *T { return f(d.url) } }
func mf[T any](f func(*Mesh) *T) field[T]        { return func(d *decoder) *T { return f(d.mesh) } }

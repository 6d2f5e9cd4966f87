// Package deploy holds what is installed beside the binary: systemd units and
// example configurations. It has no code but the tests that load all of them.
package deploy

package link

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// ReadKeyFile reads the cluster's key: base64 of 16, 24 or 32 bytes, white
// space around it allowed. Its errors name the file and the remedy.
func ReadKeyFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("encrypt_key_file %s does not exist: make one with `keepmesh cluster keys generate` (or `head -c 32 /dev/urandom | base64`) and copy it to every node", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("encrypt_key_file %s may not be read by this user: run as root or change its owner", path)
	case err != nil:
		return nil, fmt.Errorf("encrypt_key_file %s cannot be read: %w", path, err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("encrypt_key_file %s: %w", path, err)
	}
	return key, nil
}

// ParseKey decodes the text of a key file.
func ParseKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("not base64: it must hold base64 of 16, 24 or 32 random bytes, for example from `head -c 32 /dev/urandom | base64`")
	}
	switch len(key) {
	case 16, 24, 32:
		return key, nil
	}
	return nil, fmt.Errorf("base64 of %d bytes: it must be base64 of 16, 24 or 32 random bytes, for example from `head -c 32 /dev/urandom | base64`", len(key))
}

// derive returns the Ed25519 key of one purpose. The cluster's name is part of
// it, so that two clusters that share a key file by mistake stay apart.
func derive(key []byte, cluster, purpose string) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, key, []byte("keepmesh v1 "+purpose), cluster, ed25519.SeedSize)
	if err != nil {
		// Only an output longer than 255 hashes fails.
		panic(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

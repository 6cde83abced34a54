// Writes bbolt files of many shapes, with what the library itself reads back from each:
//
//	NAME.db              the file
//	NAME.live.jsonl      every key, as the library's own iteration gives them
//	NAME.previous.jsonl  the same of the tree of the older meta page (the newer one made invalid in a copy)
//	NAME.history.jsonl   every key that was ever written, where keys were deleted or changed
//
// make DIRECTORY [NAME...]         writes the shapes
// make DIRECTORY chaos FIRST LAST   writes a file for each seed of a range
// make DIRECTORY list FILE...       lists files that something else wrote
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"

	bolt "go.etcd.io/bbolt"
)

type row struct {
	Bucket   []string `json:"bucket"`
	Key      string   `json:"key"`
	Value    *string  `json:"value"`
	Sequence *uint64  `json:"sequence,omitempty"`
	Inline   *bool    `json:"inline,omitempty"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func bucketRow(path []string, k []byte, b *bolt.Bucket) row {
	sequence, inline := b.Sequence(), b.Root() == 0
	return row{path, hex.EncodeToString(k), nil, &sequence, &inline}
}

func list(file, out string, pageSize int) {
	db, err := bolt.Open(file, 0600, &bolt.Options{ReadOnly: true, PageSize: pageSize})
	must(err)
	defer db.Close()
	f, err := os.Create(out)
	must(err)
	defer f.Close()
	w := bufio.NewWriter(f)
	defer w.Flush()
	enc := json.NewEncoder(w)
	var walk func(path []string, b *bolt.Bucket) error
	walk = func(path []string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if child := b.Bucket(k); child != nil {
				must(enc.Encode(bucketRow(path, k, child)))
				return walk(append(append([]string{}, path...), hex.EncodeToString(k)), child)
			}
			value := hex.EncodeToString(v)
			return enc.Encode(row{path, hex.EncodeToString(k), &value, nil, nil})
		})
	}
	must(db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(k []byte, b *bolt.Bucket) error {
			must(enc.Encode(bucketRow([]string{}, k, b)))
			return walk([]string{hex.EncodeToString(k)}, b)
		})
	}))
}

// shape is a file being written.
type shape struct {
	db      *bolt.DB
	rnd     *rand.Rand
	history map[string]bool
}

func (s *shape) note(path []string, key []byte, value []byte, isBucket bool) {
	hexed := []string{}
	for _, p := range path {
		hexed = append(hexed, hex.EncodeToString([]byte(p)))
	}
	r := row{hexed, hex.EncodeToString(key), nil, nil, nil}
	if !isBucket {
		v := hex.EncodeToString(value)
		r.Value = &v
	}
	raw, _ := json.Marshal(r)
	s.history[string(raw)] = true
}

func (s *shape) bucket(tx *bolt.Tx, path ...string) *bolt.Bucket {
	s.note(nil, []byte(path[0]), nil, true)
	b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
	must(err)
	for i, name := range path[1:] {
		s.note(path[:i+1], []byte(name), nil, true)
		b, err = b.CreateBucketIfNotExists([]byte(name))
		must(err)
	}
	return b
}

func (s *shape) put(tx *bolt.Tx, key, value []byte, path ...string) {
	must(s.bucket(tx, path...).Put(key, value))
	s.note(path, key, value, false)
}

func (s *shape) update(fn func(tx *bolt.Tx)) {
	must(s.db.Update(func(tx *bolt.Tx) error { fn(tx); return nil }))
}

func (s *shape) bytes(n int) []byte {
	b := make([]byte, n)
	s.rnd.Read(b)
	return b
}

// text is like bytes, but compresses.
func (s *shape) text(n int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%08x.", s.rnd.Uint32()), n/9+1)[:n])
}

func (s *shape) id() string { return hex.EncodeToString(s.bytes(32)) }

func goTime(n uint64) []byte {
	b := []byte{1}
	b = binary.BigEndian.AppendUint64(b, 63930816000+n)
	b = binary.BigEndian.AppendUint32(b, uint32(n*7919%1000000000))
	return append(b, 0xff, 0xff)
}

func any(url string, value []byte) []byte {
	b := append([]byte{0x0a, byte(len(url))}, url...)
	b = append(b, 0x12)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// container writes a record with the keys that containerd gives one.
func (s *shape) container(tx *bolt.Tx, id string, n, specSize int) {
	at := []string{"v1", "default", "containers", id}
	s.put(tx, []byte("createdat"), goTime(uint64(n)), at...)
	s.put(tx, []byte("updatedat"), goTime(uint64(n)+1), at...)
	s.put(tx, []byte("image"), []byte(fmt.Sprintf("docker.io/library/app:%d", n%5)), at...)
	s.put(tx, []byte("snapshotter"), []byte("overlayfs"), at...)
	s.put(tx, []byte("snapshotKey"), []byte(id), at...)
	spec := fmt.Sprintf(`{"ociVersion":"1.0.2","process":{"args":["run","%d"],"env":["A=%s"]},"pad":"%s"}`, n, id, s.text(specSize))
	s.put(tx, []byte("spec"), any("types.containerd.io/opencontainers/runtime-spec/1/Spec", []byte(spec)), at...)
	s.put(tx, []byte("name"), []byte("io.containerd.runc.v2"), append(append([]string{}, at...), "runtime")...)
	labels := append(append([]string{}, at...), "labels")
	s.put(tx, []byte("number"), []byte(fmt.Sprint(n)), labels...)
	s.put(tx, []byte("com.example.role"), []byte("role-"+id[:6]), labels...)
}

func (s *shape) removeContainer(tx *bolt.Tx, id string) {
	must(s.bucket(tx, "v1", "default", "containers").DeleteBucket([]byte(id)))
}

var shapes = []struct {
	name    string
	options bolt.Options
	write   func(s *shape)
}{
	{"fresh", bolt.Options{}, func(s *shape) {}},
	{"one-bucket", bolt.Options{}, func(s *shape) {
		s.update(func(tx *bolt.Tx) { s.bucket(tx, "only") })
	}},
	{"nested", bolt.Options{}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			for i := 0; i < 4; i++ {
				for j := 0; j < 5; j++ {
					for k := 0; k < 12; k++ {
						s.put(tx, []byte(fmt.Sprintf("key%02d", k)), s.text(10+k*9), fmt.Sprint("top", i), fmt.Sprint("mid/", j), "leaf")
					}
					s.put(tx, []byte("beside"), nil, fmt.Sprint("top", i), fmt.Sprint("mid/", j))
				}
			}
		})
	}},
	{"deep", bolt.Options{PageSize: 1024}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			path := []string{}
			for i := 0; i < 40; i++ {
				path = append(path, fmt.Sprint("level", i))
				s.put(tx, []byte("here"), []byte(fmt.Sprint(i)), path...)
			}
		})
	}},
	{"inline", bolt.Options{}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			for i := 0; i < 60; i++ {
				b := s.bucket(tx, "records", fmt.Sprintf("r%03d", i))
				must(b.SetSequence(uint64(i) * 1000003))
				for j := 0; j < i%7; j++ {
					s.put(tx, []byte(fmt.Sprint("label", j)), s.text(j*5), "records", fmt.Sprintf("r%03d", i))
				}
			}
			must(s.bucket(tx, "records").SetSequence(1 << 63))
		})
	}},
	{"overflow", bolt.Options{}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			for i, n := range []int{0, 1, 4000, 4064, 4080, 4096, 5000, 20000, 120000} {
				s.put(tx, []byte(fmt.Sprintf("%d-%d", i, n)), s.text(n), "values")
			}
			s.put(tx, bytes.Repeat([]byte("k"), 32768), []byte("the longest key"), "keys")
			s.put(tx, bytes.Repeat([]byte("j"), 20000), s.text(9000), "keys")
		})
	}},
	{"binary", bolt.Options{PageSize: 1024}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			for i := 0; i < 256; i++ {
				s.put(tx, []byte{byte(i)}, []byte{byte(255 - i), 0, byte(i)}, "\x00\xff")
				s.put(tx, s.bytes(1+i%30), s.bytes(i%50), "random", "\x00/\n")
			}
		})
	}},
	{"many", bolt.Options{PageSize: 1024}, func(s *shape) {
		for round := 0; round < 5; round++ {
			s.update(func(tx *bolt.Tx) {
				for i := 0; i < 500; i++ {
					key := make([]byte, 8)
					binary.BigEndian.PutUint64(key, uint64(s.rnd.Intn(1500)))
					s.put(tx, key, s.text(20), "numbers")
				}
				for i := 0; i < 150; i++ {
					key := make([]byte, 8)
					binary.BigEndian.PutUint64(key, uint64(s.rnd.Intn(1500)))
					must(s.bucket(tx, "numbers").Delete(key))
				}
			})
		}
	}},
	{"page-8k", bolt.Options{PageSize: 8192}, mixed},
	{"page-16k", bolt.Options{PageSize: 16384}, mixed},
	{"page-64k", bolt.Options{PageSize: 65536}, mixed},
	{"page-1k", bolt.Options{PageSize: 1024}, mixed},
	{"page-2k", bolt.Options{PageSize: 2048}, mixed},
	{"nosync", bolt.Options{NoFreelistSync: true}, lifecycle},
	{"synced", bolt.Options{}, lifecycle},
	{"hashmap", bolt.Options{FreelistType: bolt.FreelistMapType}, lifecycle},
	{"removed-one", bolt.Options{}, func(s *shape) {
		ids := []string{s.id(), s.id(), s.id()}
		for i, id := range ids {
			s.update(func(tx *bolt.Tx) { s.container(tx, id, i, 3000) })
		}
		s.update(func(tx *bolt.Tx) { s.removeContainer(tx, ids[1]) })
	}},
	{"removed-large", bolt.Options{}, func(s *shape) {
		ids := []string{s.id(), s.id(), s.id(), s.id()}
		for i, id := range ids {
			s.update(func(tx *bolt.Tx) { s.container(tx, id, i, 30000) })
		}
		s.update(func(tx *bolt.Tx) { s.removeContainer(tx, ids[1]) })
		s.update(func(tx *bolt.Tx) { s.put(tx, []byte("a"), []byte("1"), "other") })
		s.update(func(tx *bolt.Tx) { s.put(tx, []byte("b"), []byte("2"), "other") })
		s.update(func(tx *bolt.Tx) { s.put(tx, []byte("c"), []byte("3"), "other") })
	}},
	{"changed", bolt.Options{}, func(s *shape) {
		for i := 0; i < 6; i++ {
			s.update(func(tx *bolt.Tx) {
				s.put(tx, []byte("counter"), []byte(fmt.Sprint("value ", i)), "state")
				s.put(tx, []byte("constant"), []byte("same"), "state")
				s.put(tx, []byte(fmt.Sprint("pad", i)), s.text(600), "state")
			})
		}
		s.update(func(tx *bolt.Tx) { must(s.bucket(tx, "state").Delete([]byte("pad3"))) })
	}},
	{"emptied", bolt.Options{}, func(s *shape) {
		s.update(func(tx *bolt.Tx) {
			for i := 0; i < 300; i++ {
				s.put(tx, []byte(fmt.Sprintf("k%04d", i)), s.text(40), "gone")
			}
		})
		s.update(func(tx *bolt.Tx) { must(tx.DeleteBucket([]byte("gone"))) })
	}},
	{"big", bolt.Options{NoFreelistSync: true}, func(s *shape) {
		for n := 0; n < 24000; n += 1000 {
			s.update(func(tx *bolt.Tx) {
				for k := n; k < n+1000; k++ {
					id := s.id()
					s.container(tx, id, k, 600)
					blob := []string{"v1", "default", "content", "blob", "sha256:" + s.id()}
					s.put(tx, []byte("createdat"), goTime(uint64(k)), blob...)
					s.put(tx, []byte("size"), binary.AppendVarint(nil, int64(k)*1000), blob...)
					s.put(tx, []byte("containerd.io/uncompressed"), []byte("sha256:"+s.id()), append(append([]string{}, blob...), "labels")...)
					s.history = map[string]bool{}
				}
			})
		}
	}},
	{"dense", bolt.Options{}, func(s *shape) {
		for n := 0; n < 2000000; n += 20000 {
			s.update(func(tx *bolt.Tx) {
				b := s.bucket(tx, "key")
				b.FillPercent = 0.9
				for k := n; k < n+20000; k++ {
					must(b.Put([]byte(fmt.Sprintf("%016x", k)), s.text(60)))
				}
			})
		}
	}},
	{"long-freelist", bolt.Options{PageSize: 1024}, func(s *shape) {
		s.update(func(tx *bolt.Tx) { must(s.bucket(tx, "space").Put([]byte("big"), make([]byte, 66000*1024))) })
		s.update(func(tx *bolt.Tx) { must(s.bucket(tx, "space").Delete([]byte("big"))) })
		s.update(func(tx *bolt.Tx) { s.put(tx, []byte("small"), []byte("kept"), "space") })
	}},
}

func mixed(s *shape) {
	s.update(func(tx *bolt.Tx) {
		for i := 0; i < 40; i++ {
			s.put(tx, []byte(fmt.Sprintf("key%03d", i)), s.text(i*i), "values", fmt.Sprint("b", i%3))
			s.put(tx, []byte("x"), s.text(i), "small", fmt.Sprint("in", i))
		}
	})
	s.update(func(tx *bolt.Tx) {
		for i := 0; i < 40; i += 3 {
			must(s.bucket(tx, "values", fmt.Sprint("b", i%3)).Delete([]byte(fmt.Sprintf("key%03d", i))))
		}
	})
}

// lifecycle runs and removes containers for some time.
func lifecycle(s *shape) {
	alive := []string{}
	for n := 0; n < 40; n++ {
		s.update(func(tx *bolt.Tx) {
			id := s.id()
			s.container(tx, id, n, 500+s.rnd.Intn(5000))
			alive = append(alive, id)
			s.put(tx, []byte("version"), []byte{8}, "v1")
		})
		if len(alive) > 6 || (len(alive) > 1 && s.rnd.Intn(3) == 0) {
			s.update(func(tx *bolt.Tx) {
				i := s.rnd.Intn(len(alive))
				s.removeContainer(tx, alive[i])
				alive = append(alive[:i], alive[i+1:]...)
			})
		}
		if s.rnd.Intn(3) == 0 {
			s.update(func(tx *bolt.Tx) {
				id := alive[s.rnd.Intn(len(alive))]
				s.put(tx, []byte("updatedat"), goTime(uint64(1000+n)), "v1", "default", "containers", id)
			})
		}
	}
}

// listings has the library read a file, and then a copy of it whose newer meta page is not valid.
func listings(file, out string) {
	data, err := os.ReadFile(file)
	must(err)
	pageSize := int(binary.LittleEndian.Uint32(data[24:]))
	list(file, out+".live.jsonl", pageSize)
	first, second := binary.LittleEndian.Uint64(data[64:]), binary.LittleEndian.Uint64(data[pageSize+64:])
	newer := 0
	if second > first {
		newer = pageSize
	}
	data[newer+72] ^= 0xff // the checksum
	older := out + ".older"
	must(os.WriteFile(older, data, 0600))
	list(older, out+".previous.jsonl", pageSize)
	must(os.Remove(older))
}

func write(dir, name string, options bolt.Options, fill func(s *shape)) {
	file := filepath.Join(dir, name+".db")
	os.Remove(file)
	db, err := bolt.Open(file, 0600, &options)
	must(err)
	db.NoSync = true
	db.AllocSize = options.PageSize // files no longer than they must be
	if db.AllocSize == 0 {
		db.AllocSize = 4096
	}
	s := &shape{db, rand.New(rand.NewSource(int64(len(name)) * 7919)), map[string]bool{}}
	fill(s)
	must(db.Close())
	listings(file, filepath.Join(dir, name))

	f, err := os.Create(filepath.Join(dir, name+".history.jsonl"))
	must(err)
	defer f.Close()
	lines := []string{}
	for line := range s.history {
		lines = append(lines, line)
	}
	sort.Strings(lines)
	fmt.Fprintln(f, strings.Join(lines, "\n"))
}

// chaos does anything to anything for some hundred transactions.
func chaos(seed int64) (bolt.Options, func(s *shape)) {
	rnd := rand.New(rand.NewSource(seed))
	options := bolt.Options{PageSize: 1024 << rnd.Intn(4), NoFreelistSync: rnd.Intn(2) == 0}
	if rnd.Intn(2) == 0 {
		options.FreelistType = bolt.FreelistMapType
	}
	return options, func(s *shape) {
		s.rnd = rnd
		tops := 1 + rnd.Intn(4)
		ids := []string{}
		rounds := 5 + rnd.Intn(150)
		var paths [][]string
		for n := 0; n < rounds; n++ {
			s.update(func(tx *bolt.Tx) {
				for k := 0; k < 1+rnd.Intn(6); k++ {
					switch op := rnd.Intn(12); {
					case op < 3:
						id := s.id()[:12+rnd.Intn(40)]
						ids = append(ids, id)
						s.container(tx, id, n, rnd.Intn(6000))
					case op < 5 && len(ids) > 2:
						i := rnd.Intn(len(ids))
						s.removeContainer(tx, ids[i])
						ids = append(ids[:i], ids[i+1:]...)
					case op < 6 && len(ids) > 0:
						s.put(tx, []byte("updatedat"), goTime(uint64(n*100)), "v1", "default", "containers", ids[rnd.Intn(len(ids))])
					case op < 10:
						path := []string{fmt.Sprint("top", rnd.Intn(tops))}
						for d := rnd.Intn(4); d > 0; d-- {
							path = append(path, fmt.Sprint("sub", rnd.Intn(3)))
						}
						paths = append(paths, path)
						for j := rnd.Intn(20); j >= 0; j-- {
							s.put(tx, []byte(fmt.Sprint("k", rnd.Intn(200))), s.text(rnd.Intn(300)), path...)
						}
					case op < 11 && len(paths) > 0:
						b := s.bucket(tx, paths[rnd.Intn(len(paths))]...)
						c := b.Cursor()
						var gone [][]byte
						for k, v := c.First(); k != nil; k, v = c.Next() {
							if v != nil && rnd.Intn(3) == 0 {
								gone = append(gone, append([]byte{}, k...))
							}
						}
						for _, k := range gone {
							must(b.Delete(k))
						}
					case len(paths) > 0 && rnd.Intn(3) == 0:
						p := paths[rnd.Intn(len(paths))]
						if len(p) > 1 {
							must(s.bucket(tx, p...).SetSequence(rnd.Uint64()))
							must(s.bucket(tx, p[:len(p)-1]...).DeleteBucket([]byte(p[len(p)-1])))
						} else if tx.Bucket([]byte(p[0])) != nil {
							must(tx.DeleteBucket([]byte(p[0])))
						}
					}
				}
			})
		}
	}
}

func main() {
	if len(os.Args) > 3 && os.Args[2] == "list" {
		for _, file := range os.Args[3:] {
			listings(file, filepath.Join(os.Args[1], strings.TrimSuffix(filepath.Base(file), ".db")))
		}
		return
	}
	if len(os.Args) == 5 && os.Args[2] == "chaos" {
		var first, last int64
		fmt.Sscan(os.Args[3], &first)
		fmt.Sscan(os.Args[4], &last)
		for seed := first; seed < last; seed++ {
			options, fill := chaos(seed)
			write(os.Args[1], fmt.Sprintf("chaos%04d", seed), options, fill)
		}
		return
	}
	for _, each := range shapes {
		wanted := len(os.Args) == 2 && each.name != "big" && each.name != "dense" // made on demand, to measure with
		for _, name := range os.Args[2:] {
			wanted = wanted || name == each.name
		}
		if wanted {
			write(os.Args[1], each.name, each.options, each.write)
		}
	}
}

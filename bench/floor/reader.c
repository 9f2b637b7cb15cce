/*
 * What reading costs in C, without Tidemark:
 *
 *     reader copy VECTORS QUESTIONS IDS VECTOR_BYTES
 *     reader lmdb FOLDER  QUESTIONS IDS VECTOR_BYTES [TIMELINES POOL]
 *
 * `copy` has all vectors in memory, one after another in the order of the numbers in the ids, and
 * copies those that are asked for. `lmdb` reads an id's timeline, and the vector whose id stands at
 * its end, from LMDB's own library; it first fills a new environment with the entries of the two
 * files, each two lengths (u32), the key and the value.
 *
 * QUESTIONS has an id a line, IDS of them a question. Then each line on the standard input has all
 * questions asked once: answered by a line of JSON with the seconds, and a digest of the last
 * question's bytes.
 */
#include <errno.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_BYTES_MAX 64
#define MAP_BYTES ((size_t)1 << 36)
#define PUTS_A_TRANSACTION 5000

struct key {
  size_t length;
  uint32_t number;
  char bytes[KEY_BYTES_MAX];
};

static struct key *keys;
static size_t questions, ids, vector_bytes;
static uint8_t *answer;

static void check(int code, const char *what) {
  if (code == 0) return;
  fprintf(stderr, "%s: %s\n", what, mdb_strerror(code));
  exit(1);
}

static uint8_t *file_bytes(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) check(errno, path);
  *length = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*length + 1);
  if (bytes == NULL || fread(bytes, 1, *length, file) != *length) check(EIO, path);
  bytes[*length] = 0;
  fclose(file);
  return bytes;
}

/* A head's key is the id, a NUL and 0xFF. */
static void read_questions(const char *path) {
  size_t length, count = 0;
  char *text = (char *)file_bytes(path, &length);
  for (size_t at = 0; at < length; at++) count += text[at] == '\n';
  keys = calloc(count, sizeof *keys);
  questions = count / ids;
  struct key *key = keys;
  for (char *id = strtok(text, "\n"); id != NULL; id = strtok(NULL, "\n"), key++) {
    key->length = strlen(id);
    if (key->length + 2 > KEY_BYTES_MAX) check(MDB_BAD_VALSIZE, id);
    memcpy(key->bytes, id, key->length);
    key->bytes[key->length++] = 0;
    key->bytes[key->length++] = (char)0xff;
    key->number = (uint32_t)atol(strchr(id, '-') + 1);
  }
  free(text);
}

static void fill(MDB_env *env, MDB_dbi dbi, const char *path) {
  size_t length;
  uint8_t *bytes = file_bytes(path, &length);
  MDB_txn *txn = NULL;
  size_t puts = 0;
  for (size_t at = 0; at < length; puts++) {
    if (puts % PUTS_A_TRANSACTION == 0) {
      if (txn != NULL) check(mdb_txn_commit(txn), "commit");
      check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    }
    uint32_t sizes[2];
    memcpy(sizes, bytes + at, sizeof sizes);
    at += sizeof sizes;
    MDB_val key = {sizes[0], bytes + at}, value = {sizes[1], bytes + at + sizes[0]};
    check(mdb_put(txn, dbi, &key, &value, MDB_APPEND), "put");
    at += (size_t)sizes[0] + sizes[1];
  }
  if (txn != NULL) check(mdb_txn_commit(txn), "commit");
  free(bytes);
}

static uint8_t *pool;

static void copy(const struct key *asked) {
  for (size_t at = 0; at < ids; at++) {
    memcpy(answer + at * vector_bytes, pool + asked[at].number * vector_bytes, vector_bytes);
  }
}

static MDB_txn *reading;
static MDB_dbi timeline, vector;

static void look_up(const struct key *asked) {
  check(mdb_txn_renew(reading), "renew");
  for (size_t at = 0; at < ids; at++) {
    MDB_val key = {asked[at].length, (void *)asked[at].bytes}, value;
    check(mdb_get(reading, timeline, &key, &value), "timeline");
    /* The last number of a timeline is its newest vector id; keys are shifted by 2^53. */
    double id;
    memcpy(&id, (uint8_t *)value.mv_data + value.mv_size - sizeof id, sizeof id);
    uint64_t shifted = __builtin_bswap64((uint64_t)id + ((uint64_t)1 << 53));
    MDB_val number = {sizeof shifted, &shifted};
    check(mdb_get(reading, vector, &number, &value), "vector");
    memcpy(answer + at * vector_bytes, value.mv_data, vector_bytes);
  }
  mdb_txn_reset(reading);
}

static void open_lmdb(const char *folder, const char *timelines, const char *vectors) {
  MDB_env *env;
  MDB_txn *txn;
  check(mdb_env_create(&env), "create");
  check(mdb_env_set_maxdbs(env, 2), "databases");
  check(mdb_env_set_mapsize(env, MAP_BYTES), "map");
  check(mdb_env_open(env, folder, MDB_NOSYNC, 0644), folder);
  check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
  check(mdb_dbi_open(txn, "timeline", MDB_CREATE, &timeline), "timeline");
  check(mdb_dbi_open(txn, "vector", MDB_CREATE, &vector), "vector");
  check(mdb_txn_commit(txn), "commit");
  fill(env, timeline, timelines);
  fill(env, vector, vectors);
  check(mdb_txn_begin(env, NULL, MDB_RDONLY, &reading), "begin");
  mdb_txn_reset(reading);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint32_t digest(void) {
  uint32_t sum = 2166136261u, word;
  for (size_t at = 0; at < ids * vector_bytes; at += sizeof word) {
    memcpy(&word, answer + at, sizeof word);
    sum = (sum ^ word) * 16777619u;
  }
  return sum;
}

int main(int count, char **words) {
  if (count < 6) return 2;
  ids = (size_t)atol(words[4]);
  vector_bytes = (size_t)atol(words[5]);
  read_questions(words[3]);
  answer = malloc(ids * vector_bytes);
  void (*ask)(const struct key *) = look_up;
  if (strcmp(words[1], "copy") == 0) {
    size_t length;
    pool = file_bytes(words[2], &length);
    ask = copy;
  } else if (count == 8) {
    open_lmdb(words[2], words[6], words[7]);
  } else {
    return 2;
  }
  char line[16];
  while (fgets(line, sizeof line, stdin) != NULL) {
    double start = now();
    for (size_t at = 0; at < questions; at++) ask(keys + at * ids);
    printf("{\"seconds\": %.9f, \"digest\": %u}\n", now() - start, digest());
    fflush(stdout);
  }
  return 0;
}

/* The firmware's session as a C library: bytes in, bytes out, the clock in, the engine and the flash as tables of
 * functions. Not thread-safe: every call on one session comes from one thread, and every callback runs within
 * `mww_session_feed` or `mww_session_poll` on that thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this header; `mww_host_abi` returns the library's own. */
#define MWW_HOST_ABI 4u

typedef struct mww_session mww_session;

/* What Welcome says; strings are copied, and may be empty but not null. */
typedef struct mww_identity {
  uint32_t boot_id;
  uint16_t clock_mhz;
  uint8_t flags; /* FLAG_VIRTUAL */
  uint8_t mac[6];
  const char *chip;
  const char *revision;
  const char *board;
  const char *firmware;
  const char *engine;
  const char *esphome;
  const char *idf;
  const char *runtime;
  const char *kernels;
  const char *reset_reason;
} mww_identity;

typedef struct mww_limits {
  uint16_t max_payload;    /* bytes of the largest payload, 256 to 60000 */
  uint16_t max_frames;     /* frames that one Infer may carry, at least 1 */
  uint16_t batch;          /* frames that one call of `infer` may carry; 1 as on a chip */
  uint16_t heartbeat_ms;   /* at least this often while the host is heard */
  uint8_t window;          /* unanswered requests, 1 to 64 */
  uint8_t models;          /* slots, 1 to 4 */
  uint32_t receive_buffer; /* bytes on the wire that may be unanswered */
} mww_limits;

/* What Model says of an open model. */
typedef struct mww_model_facts {
  uint8_t stride;
  uint8_t outputs;
  uint8_t variables;
  int32_t input_zero_point;
  int32_t output_zero_point;
  float input_scale;
  float output_scale;
  uint32_t arena_used;
  uint32_t arena_size;
  uint32_t variable_arena_used;
  uint32_t error_detail; /* set on failure: Error.detail */
  char error_text[96];   /* set on failure: Error.text, ended by a zero */
} mww_model_facts;

typedef struct mww_inference {
  uint32_t microseconds;
  uint8_t output;
} mww_inference;

typedef struct mww_op_time {
  uint32_t microseconds;
  char name[24]; /* padded with zeros */
} mww_op_time;

/* Engine. `model` is the slot. Functions that return uint16_t return 0, or an error code of the wire protocol. */
typedef struct mww_engine_table {
  void *context;
  /* `data` stays valid until `unload`. */
  uint16_t (*load)(void *context, uint8_t model, const uint8_t *data, size_t size, uint32_t manifest_arena,
                   uint8_t any_output, mww_model_facts *facts);
  void (*unload)(void *context, uint8_t model);
  uint16_t (*reset)(void *context, uint8_t model);
  /* `frames` holds `count` (at most the batch) frames of stride * 40 bytes; `results` takes as many. */
  uint16_t (*infer)(void *context, uint8_t model, const int8_t *frames, size_t count, uint8_t profile,
                    mww_inference *results);
  /* The tensor as the last inference left it, valid until the next call; null if the model does not have it. */
  const uint8_t *(*output)(void *context, uint8_t model, uint8_t output, size_t *size);
  /* Operator `index` of the last profiled inference; returns 0 past the last. */
  uint8_t (*profile)(void *context, uint8_t model, uint16_t index, mww_op_time *time);
} mww_engine_table;

/* The audio front-end. `start` is null on a board without one. */
typedef struct mww_frontend_table {
  void *context;
  /* Begins a stream with a slice each `step_ms`, in the initial state. Returns 0, or an error code. */
  uint16_t (*start)(void *context, uint8_t step_ms);
  void (*stop)(void *context);
  /* Takes samples up to the end of a slice, at least one, and returns how many. `made` is set to 1 where the 40
   * `features` are that slice, else to 0. */
  size_t (*process)(void *context, const int16_t *samples, size_t count, uint16_t *features, uint8_t *made);
} mww_frontend_table;

/* The microphone, 16 kHz mono. `open` is null on a board without one. */
typedef struct mww_microphone_table {
  void *context;
  uint16_t (*open)(void *context); /* begins to hear; returns 0, or an error code */
  void (*close)(void *context);
  /* Takes the next samples, at most `count`; returns how many. */
  size_t (*read)(void *context, int16_t *samples, size_t count);
} mww_microphone_table;

/* The model partition. `data` is where it is mapped, and shows what `erase` and `write` did; null without one. */
typedef struct mww_partition {
  void *context;
  const uint8_t *data;
  uint32_t size; /* a multiple of 4096 */
  /* Both return 1 on success. Erase takes whole sectors of 4096; write finds its bytes erased (0xFF). */
  uint8_t (*erase)(void *context, uint32_t offset, uint32_t size);
  uint8_t (*write)(void *context, uint32_t offset, const uint8_t *data, size_t size);
} mww_partition;

/* What Stats says of memory; set to UNKNOWN (0xFFFFFFFF) before the call. */
typedef struct mww_memory {
  uint32_t heap_free;
  uint32_t heap_smallest_free;
  uint32_t heap_largest_block;
  uint32_t psram_free;
  uint32_t psram_smallest_free;
  uint32_t stack_free;
} mww_memory;

typedef struct mww_platform {
  void *context;
  /* Takes all of it: one whole frame, with its zeros. */
  void (*transmit)(void *context, const uint8_t *data, size_t size);
  void (*memory)(void *context, mww_memory *memory); /* may be null */
} mww_platform;

typedef struct mww_config {
  mww_identity identity;
  mww_limits limits;
  mww_engine_table engine;
  mww_frontend_table frontend;
  mww_microphone_table microphone;
  mww_partition partition;
  mww_platform platform;
} mww_config;

uint32_t mww_host_abi(void);

/* A freshly booted board; its first poll sends a Heartbeat. The tables' contexts and the partition must outlive it.
 * Null if a limit is out of range. */
mww_session *mww_session_create(const mww_config *config);

/* Models are unloaded. */
void mww_session_destroy(mww_session *session);

/* Takes bytes from the host. Returns how many were taken: fewer than `size` while a request is being carried out; give
 * it the rest after the next poll, as a chip leaves them in its UART's ring buffer. */
size_t mww_session_feed(mww_session *session, const uint8_t *data, size_t size);

/* Does the next piece of work: at most one call of `infer`. Returns 1 if more work waits, 0 if only new bytes or time
 * bring more. `now_ms` counts from boot and may wrap. */
uint8_t mww_session_poll(mww_session *session, uint32_t now_ms);

/* 1 while a request was heard recently: poll it often; 0 when once in 100 ms is enough. */
uint8_t mww_session_active(const mww_session *session);

/* Sends a Log message, cut at 255 bytes. */
void mww_session_log(mww_session *session, uint8_t level, const char *text);

#ifdef __cplusplus
}
#endif

/* The firmware's codecs and rules one by one, for tests that hold them against the Python ones. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*mww_frame_callback)(void *context, uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size);

typedef struct mww_detected {
  uint32_t frame;
  uint8_t slice;
  uint8_t average;
  uint8_t maximum;
} mww_detected;

/* Writes one frame; returns its size, or 0 if it is larger than `capacity`. */
size_t mww_encode_frame(uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size, uint8_t *frame,
                        size_t capacity);

/* Decodes a stream with a decoder of `capacity` bytes; returns how many frames were rejected. */
size_t mww_decode_frames(const uint8_t *stream, size_t size, size_t capacity, mww_frame_callback callback,
                         void *context);

/* Parses a payload as the message of its type and writes it again as a frame; returns its size, or 0 if it is another
 * message. */
size_t mww_reencode(uint8_t type, const uint8_t *payload, size_t size, uint8_t *frame, size_t capacity);

void mww_sha256(const uint8_t *data, size_t size, uint8_t digest[32]);

/* Runs the detection rule over outputs; returns how many detections there were, and writes the first `capacity`. */
size_t mww_detect(uint8_t cutoff, uint8_t window, uint8_t stride, const uint8_t *outputs, size_t count,
                  mww_detected *detections, size_t capacity);

#ifdef __cplusplus
}
#endif

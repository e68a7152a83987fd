/* A model as the protocol runs it. The tables behind it are generated. */
#ifndef GNOMON_MODEL_H
#define GNOMON_MODEL_H

#include <stdint.h>

typedef struct {
  int16_t index; /* of the operator in the .tflite */
  const char *name;
  void (*run)(void);
} gnomon_layer;

/* What the bytes of a loaded input mean. */
typedef enum {
  GNOMON_INT8,  /* the input tensor as it is */
  GNOMON_UINT8, /* 128 more than the input tensor */
  GNOMON_FLOAT  /* little-endian float32, quantised here; the result is the mean squared error against them */
} gnomon_wire;

typedef struct {
  const char *id; /* "kws01" and so on */
  const gnomon_layer *layers;
  int32_t layer_count;
  gnomon_wire wire;
  uint8_t *payload; /* where a loaded input lies; for int8 and uint8 the memory of `input` */
  int32_t payload_size;
  int8_t *input; /* no layer writes into it */
  int32_t input_size;
  float input_scale;
  int32_t input_zero_point;
  const int8_t *output;
  int32_t output_size;
  float output_scale;
  int32_t output_zero_point;
} gnomon_model;

static inline void gnomon_run(const gnomon_model *model) {
  for (int32_t i = 0; i < model->layer_count; i++) model->layers[i].run();
}

#endif

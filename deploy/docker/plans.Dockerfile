# The export with NVIDIA's TensorRT, of the version in the Triton image of docker-compose.triton.yml: plans of another one do not load there.
FROM kizu-fast-export:0.1.0
USER 0:0
RUN pip install --no-cache-dir tensorrt==10.13.2.6 \
 && install -d -o kizu -g kizu /models-plans
USER 10001:10001
CMD ["python", "-m", "export", "--target", "tensorrt", "--precision", "fp16", "--repository", "/models"]

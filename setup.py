"Install musiclm: everything there is to say stands in settings.ini."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=['='])
cfg.read(here/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
extras = {k: cfg[f'{k}_requirements'].split() for k in ('dev', 'docs', 'miditok', 'cluster', 'distributed', 'hub')}
extras['dev'] += extras['miditok'] + extras['cluster'] + extras['distributed'] + extras['hub'] # the tests use them

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], author=cfg['author'],
    author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0', keywords=cfg['keywords'].split(),
    packages=find_packages(include=['musiclm', 'musiclm.*']) + ['musiclm.manifests', 'musiclm.pretrained'],
    package_dir={'musiclm.manifests': 'data/manifests', 'musiclm.pretrained': 'data/pretrained'},
    package_data={'musiclm': ['pages/*'], 'musiclm.manifests': ['*.csv'], 'musiclm.pretrained': ['*.csv', '*/*']},
    python_requires='>='+cfg['min_python'],
    install_requires=cfg['requirements'].split(), extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['musiclm=musiclm._modidx:d']},
    long_description=(here/'README.md').read_text(encoding='utf-8') if (here/'README.md').exists() else '',
    long_description_content_type='text/markdown',
)
